from digitjax.runs.files import RunFile
from digitjax.runs.folder import delete_files, holds_run


def test_deleting_takes_all_of_a_run_and_nothing_else(tmp_path):
    for name in RunFile:
        if name in (RunFile.STATE, RunFile.TENSORBOARD):
            (tmp_path / name / "1").mkdir(parents=True)
            (tmp_path / name / "1" / "file").write_text("")
        else:
            (tmp_path / name).write_text("")
    for name in ("notes.txt", ".lock"):
        (tmp_path / name).write_text("mine")
    assert holds_run(tmp_path)
    delete_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", ".lock"}
    assert not holds_run(tmp_path)
