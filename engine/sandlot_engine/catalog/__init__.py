"""What there is: functions and their code, tenants and their keys."""
