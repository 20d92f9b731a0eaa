def check(word):
    machine.succeed(f"echo {word} >&2; exit 4")


with subtest("one passes"):
    machine.succeed("true")

with subtest("one fails"):
    check("why")

with subtest("this is not reached"):
    machine.succeed("true")
