# Three nodes in a line, r1 -- r2 -- r3, as a script for the NixOS test driver has them.
import json
import test_driver.errors
from test_driver.errors import MachineError, RequestedAssertionFailed
from datetime import timedelta

start_all()

with subtest("the machines are there by name"):
    assert [machine.name for machine in machines] == ["r1", "r2", "r3"]
    t.assertEqual(r1.name, "r1")
    for machine in machines:
        machine.connect()
        assert machine.is_up()

with subtest("errors"):
    with t.assertRaises(RequestedAssertionFailed):
        r1.succeed("false")
    with t.assertRaises(RequestedAssertionFailed):
        t.assertEqual(1, 2)
    with t.assertRaises(test_driver.errors.RequestedAssertionFailed):
        r1.wait_until_succeeds("false", timeout=1)
    with t.assertRaises(MachineError):
        r1.qmp_client.send("no-such-command")

with subtest("commands"):
    assert r1.succeed("echo one", "echo two >&2; echo three") == "one\nthree\n"
    assert r1.execute("echo out; echo err >&2; exit 3") == (3, "out\n")
    assert r1.execute("false | true")[0] != 0
    assert r1.execute("echo $UNSET")[0] != 0
    assert r1.execute("false; true")[0] != 0
    assert r1.execute("pwd; echo $HOME") == (0, "/tmp\n/root\n")
    assert r1.execute("kill -9 $$")[0] == 137
    assert r1.execute("sleep 60", timeout=1) == (124, "")
    assert r1.execute("echo yes", check_return=False) == (-1, "yes\n")
    assert r1.execute("sleep 1; touch /tmp/late", True, False) == (-2, "")
    r1.wait_for_file("/tmp/la*", 30)
    assert r1.fail("echo no; false") == "no\n"
    assert r1.fail("sleep 60", timeout=1) == ""
    r1.sleep(secs=1)

with subtest("the network"):
    r1.wait_until_succeeds("ping -c1 -W1 r3", timeout=60)
    r3.wait_until_succeeds("ping -c1 -W1 r1", timedelta(seconds=60))
    addresses = json.loads(r2.succeed("ip -json address show dev eth1"))
    assert addresses[0]["operstate"] == "UP", addresses
    r2.block()
    r1.wait_until_fails("ping -c1 -W1 r2", 60)
    r2.unblock()
    r1.wait_until_succeeds("ping -c1 -W1 r3", timeout=timedelta(minutes=1))

with subtest("ports and sockets"):
    r3.succeed("iperf3 -s -D -p 5201 >/dev/null 2>&1")
    r3.wait_for_open_port(5201)
    r1.wait_for_open_port(5201, "r3", timeout=30)
    r1.wait_for_closed_port(5202, "r3", 30)
    r3.succeed("killall iperf3")
    r3.wait_for_closed_port(5201, timeout=30)
    r1.succeed("echo 'protocol device {}' >/etc/bird/bird.conf; bird")
    r1.wait_for_open_unix_socket("/run/bird/bird.ctl", timeout=30)

with subtest("files"):
    with open(os.path.join(driver.out_dir, "sent"), "w") as file:
        file.write("text\n")
    r1.copy_from_host(os.path.join(driver.out_dir, "sent"), "/tmp/folder/received")
    assert r1.succeed("cat /tmp/folder/received") == "text\n"
    r1.copy_from_host(os.path.join(driver.out_dir, "sent"), "/tmp/folder")
    assert r1.succeed("cat /tmp/folder/sent") == "text\n"
    r1.copy_from_host_via_shell(os.path.join(driver.out_dir, "sent"), "relative")
    r1.copy_from_vm("relative", "back")
    r1.copy_from_machine("/tmp/folder")
    with open(os.path.join(driver.out_dir, "back", "relative")) as file:
        assert file.read() == "text\n"

with subtest("the console"):
    r1.send_console("echo on the con''sole\n")
    r1.wait_for_console_text("^on the console")
    assert "on the console" in r1.get_console_log()
    r1.succeed("printf 'first\\nsecond\\nthird\\n' >/dev/console")
    r1.wait_for_console_text("first$")
    r1.wait_for_console_text("^second$", timeout=30)
    r1.wait_for_console_text("^third$", timedelta(seconds=30))
    r1.succeed("printf 'on the terminal' >/dev/tty1")
    r1.wait_until_tty_matches("1", "on the term.nal")
    assert "on the terminal" in r1.get_tty_text("1").splitlines()[0]
    r1.dump_tty_contents("1")
    serial_stdout_on()
    r1.succeed("echo told >/dev/console")
    r1.wait_for_console_text("told")
    r1.succeed("true")
    serial_stdout_off()

with subtest("units"):
    for program in ("systemctl", "su"):
        r1.copy_from_host(os.path.join(os.environ["PROGRAMS"], program), "/usr/bin")
    r1.wait_for_unit("good.service")
    assert r1.get_unit_info("good.service")["ActiveState"] == "active"
    assert r1.get_unit_property("good.service", "SubState") == "running"
    r1.require_unit_state("good.service")
    r1.require_unit_state("bad.service", "failed")
    with t.assertRaisesRegex(Exception, "bad.service is failed"):
        r1.wait_for_unit("bad.service", timeout=30)
    r1.wait_for_unit("good.service", "alice", 30)
    with t.assertRaisesRegex(Exception, "bad.service of alice is failed"):
        r1.wait_for_unit("bad.service", user="alice")
    assert r1.systemctl("list-jobs", user="alice") == (0, "--user list-jobs\n")
    assert r1.systemctl("is-active bad.service") == (0, "is-active bad.service\n")
    assert r1.start_job("good.service") == (0, "start good.service\n")
    assert r1.stop_job("good.service") == (0, "stop good.service\n")

with subtest("the monitor"):
    assert "running" in r2.send_monitor_command("info status")
    assert r2.qmp_client.send("query-status")["return"]["status"] == "running"
    r2.qmp_client.send("stop")
    r2.qmp_client.send("cont")
    event = r2.wait_for_qmp_event(lambda event: event["event"] == "RESUME", timeout=30)
    assert event["timestamp"]["seconds"] > 0

with subtest("power"):
    r3.shutdown()
    assert not r3.is_up()
    r3.start()
    r3.succeed("true")
    r3.execute("poweroff", check_return=False)
    r3.wait_for_shutdown()
    r3.start(allow_reboot=True)
    r3.crash()
    assert "netlab: init" in r3.get_console_log()
    assert r3.pid is None
    # As it comes up, before its agent answers.
    r3.start()
    r3.wait_for_console_text("netlab: init")
    r3.shutdown()
    assert r3.succeed("hostname") == "r3\n"
    start_all()
    r2.reboot()
    r1.wait_until_succeeds("ping -c1 -W1 r3", timeout=120)

with subtest("trying again"):
    calls = []
    retry(lambda last: calls.append(last) or len(calls) == 3, timeout_seconds=30)
    assert calls == [False, False, False]


@polling_condition(seconds_interval=0.1)
def reaches():
    "r1 reaches r2"
    r1.succeed("ping -c1 -W1 r2")


with reaches:
    r1.sleep(1)
reaches.wait(timeout=30)
log.info("all is well")
with log.nested("and so"):
    r1.log("say I")
