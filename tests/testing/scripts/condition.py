@polling_condition
def there():
    "the file is there"
    machine.succeed("test -e /tmp/there")


machine.succeed("touch /tmp/there; (sleep 1; rm /tmp/there) >/dev/null 2>&1 &")
with there:
    machine.wait_for_console_text("this never comes")
