import time

for verb in (
    lambda: machine.wait_until_succeeds("sleep 60", 2),
    lambda: machine.wait_until_fails("sleep 60", timeout=2),
    lambda: machine.succeed("sleep 60", timeout=2),
    lambda: machine.wait_for_open_port(4, timeout=2),
    lambda: machine.wait_for_open_port(4, "192.0.2.1", timeout=2),
    lambda: machine.wait_for_file("/tmp/none", timeout=2),
    lambda: machine.wait_for_console_text("this never comes", timeout=2),
    lambda: machine.wait_for_shutdown(timeout=2),
    lambda: machine.wait_for_qmp_event(lambda event: False, timeout=2),
    lambda: retry(lambda last: machine.succeed("sleep 60"), timeout=2),
    lambda: retry(lambda last: False, timeout=2),
):
    began = time.monotonic()
    try:
        verb()
    except Exception as error:
        log.info(f"{time.monotonic() - began:.2f} {error}")
    else:
        raise AssertionError("it ended in time")
