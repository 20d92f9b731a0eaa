import signal
import threading

machine.connect()
with subtest("it is waited for"):
    threading.Timer(0.5, os.kill, (machine.pid, signal.SIGKILL)).start()
    machine.wait_until_succeeds("sleep 1; false")
