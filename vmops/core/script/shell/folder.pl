# Lists what lies in the images folder. Run it as the SSH user; chain.pl stands behind it.
#
# Argument: the folder. Standard output: a line for each base and for what is left of a transfer,
# "base NAME SIZE USED CHANGED DEVICE:INODE" in bytes and seconds; then the word "chains", and
# what chain.pl says of every other file there, however deep: what a disk may stand on is told by
# its header alone.
my $folder = shift;
my @folders = ($folder);
my @others;
while (@folders) {
  my $here = shift @folders;
  opendir my $listed, $here or next;
  for my $entry (sort readdir $listed) {
    next if $entry eq "." || $entry eq "..";
    my $name = "$here/$entry";
    my @found = lstat $name or next;
    if (-d _) { push @folders, $name if @folders < 1000; next }
    next if !-f _ || !-s _;
    if ($here eq "$folder/.vmops" && $entry =~ /^base-[0-9a-f]{64}\.(qcow2|raw)(\.part)?$/) {
      print "base $entry $found[7] ", 512 * $found[12], " $found[9] $found[0]:$found[1]\n";
    }
    else { push @others, $name }
  }
}
die "there are more than 10000 files in $folder\n" if @others > 10000;
print "chains\n";
# "base:" is to read them only, with no format: what is no qcow2 image stands on nothing.
@ARGV = map { ("base:", $_) } @others;
