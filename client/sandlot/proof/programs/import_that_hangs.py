"""tries to be imported without end"""

import time

while True:
    time.sleep(60)
