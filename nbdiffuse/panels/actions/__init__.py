"""Actions of a panel: insert a cell, write a program, save a file, take in a dropped one."""
