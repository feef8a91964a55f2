# Prints the PIDs that have files open, a line each. Run it as root, who may look at all of them.
#
# Arguments: a file's name; or files as "DEVICE:INODE", and then each PID is followed by that.
my %wanted;
for my $name (@ARGV) {
  my @found = $name =~ m{/} ? stat $name : ();
  exit 1 if $name =~ m{/} && !@found;
  $wanted{@found ? "$found[0]:$found[1]" : $name} = @found ? "" : " $name";
}
for my $process (glob "/proc/[0-9]*") {
  my %told;
  for my $open (glob "$process/fd/*") {
    my @found = stat $open or next;
    my $name = $wanted{"$found[0]:$found[1]"};
    print substr($process, 6), "$name\n" if defined $name && !$told{$name}++;
  }
}
