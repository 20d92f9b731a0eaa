import socket
import urllib.request

start_all()
machine.wait_until_tty_matches("1", "#")
machine.send_chars("echo on''screen\n", delay=None)
machine.wait_for_text("^onscreen")
assert "onscreen" in machine.get_screen_text()
assert machine.get_screen_text_variants() != []
machine.screenshot("shown")
machine.send_key("ctrl-l", log=False)

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
machine.succeed("mkdir /tmp/www; echo hello >/tmp/www/index.html; httpd -p 80 -h /tmp/www")
machine.wait_for_open_port(80)
machine.forward_port(port, 80)
with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as page:
    assert page.read() == b"hello\n"
