"""How the tests check the signatures of digitjax: jaxtyping hands every function and dataclass to `check`."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int will do for a float, as type checkers have it
