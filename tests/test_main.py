import pytest

from digitjax import __main__ as command


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_the_commands_are_listed(argv, capsys):
    assert command.main(argv) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]]
    assert listed == list(command.COMMANDS)


@pytest.mark.parametrize("name", command.COMMANDS)
def test_each_command_is_run_with_the_other_arguments(name, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        command.main([name, "--help"])
    assert f"-m digitjax.{name}" in capsys.readouterr().out


def test_a_command_that_isnt_there(capsys):
    assert command.main(["read"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "digitjax: error: there is no command 'read'"


def test_the_module_is_a_command(python):
    assert b"predict" in python("-m", "digitjax").stdout
