"""What the jail holds back, tried by real guest programs in real jails."""
