# Prints the PIDs that have a file open, a line each. Run it as root, who may look at all of them.
#
# Argument: the file's name.
my @image = stat $ARGV[0] or exit 1;
for my $process (glob "/proc/[0-9]*") {
  for my $open (glob "$process/fd/*") {
    my @found = stat $open or next;
    next if "@found[0, 1]" ne "@image[0, 1]";
    print substr($process, 6), "\n";
    last;
  }
}
