"""Pure chemistry and law: structures in, identities and explained verdicts out.

Nothing here opens a socket, a database or a clock; text, numbers and dates come in as arguments and frozen
values go out. `chem.values` holds the words (and imports no toolkit), `chem.engine` answers the questions.
"""
