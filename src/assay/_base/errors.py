"""Every error that Assay raises on purpose.

    AssayError            anything the user can mend; the command line exits 2
    |- InputError         a file, field or flag is wrong: names it and the remedy
    `- CannotHold         the deployment's chips cannot hold the model

The message of each is meant for the user as it stands.
"""


class AssayError(Exception):
    """Base of all errors whose message is meant for the user."""


class InputError(AssayError):
    """Something given is wrong.

    `file` is the file or flag, `field` the place in it (may be empty), `problem` what is wrong and `remedy` what to do.
    """

    def __init__(self, file: object, field: str, problem: str, remedy: str) -> None:
        self.file, self.field, self.problem, self.remedy = str(file), field, problem, remedy
        where = f"{file}: {field}" if field else str(file)
        super().__init__(f"{where}: {problem}. {remedy if remedy.endswith('?') else remedy.rstrip('.') + '.'}")


class CannotHold(AssayError):
    """No room for the model: says what is needed, what there is, and what would help."""
