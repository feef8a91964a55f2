# Lists the disks of VMs in a folder. Run it as the SSH user.
#
# Argument: the folder. Standard output: a line for each, "disk NAME USED SIZE" in bytes; SIZE is
# how large its guest finds it, by the header of a qcow2 file.
my $folder = shift;
opendir my $listed, $folder or exit 0;
for my $entry (sort readdir $listed) {
  next if $entry !~ /^disk-[\w.-]+\.(qcow2|raw)$/;
  my $is_qcow2 = $1 eq "qcow2";
  my @found = lstat "$folder/$entry" or next;
  next if !-f _;
  my $size = $found[7];
  if ($is_qcow2) {
    # O_NOFOLLOW as x86 and as ARM count it, O_NONBLOCK: it may have been replaced by now.
    sysopen my $file, "$folder/$entry", 0x20000 | 0x8000 | 0x800 or next;
    sysread $file, my $head, 32;
    $size = length $head == 32 && $head =~ /^QFI\xfb/ ? unpack("Q>", substr $head, 24) : 0;
  }
  print "disk $entry ", 512 * $found[12], " $size\n";
}
