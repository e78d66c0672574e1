"""The lab: throw-away hosts with a real systemd, by systemd-nspawn, where PID 1 itself need not be systemd."""
