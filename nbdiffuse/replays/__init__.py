"""What was made: found again, compared, made again, verified, written as a program."""
