machine.wait_for_x()
