"""What the Python programs share: they print what a driver gave them, and nothing that differs between two runs."""

import sys
import threading


def tell(what, *values):
    print(f"{what}:", *(repr(value) for value in values), flush=True)


def tell_error(what, error):
    """The fields of an error of psycopg2 or psycopg 3, and the class the driver made of it."""
    diag = error.diag
    fields = ("severity", "sqlstate", "message_primary", "message_detail", "message_hint", "statement_position",
              "context", "schema_name", "table_name", "column_name", "datatype_name", "constraint_name")
    print(f"{what}: {type(error).__name__}", *(f"{name}={getattr(diag, name)!r}" for name in fields
                                              if getattr(diag, name) is not None), flush=True)


def failing(what, action, *arguments, tell_error=tell_error, kind=Exception, **named):
    """Runs what has to fail, and prints how."""
    try:
        result = action(*arguments, **named)
    except kind as error:
        tell_error(what, error)
        return error
    raise AssertionError(f"{what} did not fail but gave {result!r}")


def at_once(count, work):
    """Runs work(number) in threads of their own; what one raises ends the program."""
    trouble = []

    def one(number):
        try:
            work(number)
        except BaseException as error:
            trouble.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if trouble:
        raise trouble[0]


def play(sections):
    """Runs the sections in order, or only those whose names are arguments."""
    for section in sections:
        if len(sys.argv) > 1 and section.__name__ not in sys.argv[1:]:
            continue
        print(f"-- {section.__name__}", flush=True)
        section()
    print("-- the end", flush=True)
