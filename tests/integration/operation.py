from registry import register

TESTS = []
test = register(TESTS)
