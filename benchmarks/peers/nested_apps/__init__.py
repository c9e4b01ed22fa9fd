"""Many applications in one."""
