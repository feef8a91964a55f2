# Judges what chain.pl has printed of images and of what they stand on: whatever is against it ends
# this with 1 and a word. `objections` in core/tools/image_chain.py has the same rules, and the words
# for people; a test compares the two. Here they count where nobody looks in between: a QEMU that has
# just ended may have written over its image's header.
my ($images, $backings) = (0, 0);
# All is read before it is judged: who is still writing would complain of a broken pipe.
for (<STDIN>) {
  chomp;
  check(), next if $_ eq "";
  /^name / or next;
  my %of = split / /, $_, -1;
  my $as = pack "H*", $of{as};
  my $is_qcow2 = ($of{looks} // "") eq "qcow2";
  my $why =
      defined $of{fault} ? "cannot be opened or read ($of{fault})"
    : defined $of{closed} ? "is closed to root"
    : oct($of{mode}) & 2 || defined $of{loose} ? "may be changed by others"
    : $as ne "raw" && $as ne "qcow2" && $as ne "" ? "has an odd format"
    : $as eq "raw" ? ($is_qcow2 ? "is no raw image" : "")
    : !$is_qcow2 ? "is no qcow2 image"
    : defined $of{data} || hex($of{features}) & 4 ? "keeps its data elsewhere"
    : $of{crypt} ? "is encrypted"
    : !$images && hex($of{features}) & 2 ? "is marked as corrupt"
    : strays(map { pack "H*", $_ // "" } @of{qw(name backing)}) ? "stands on no image of vmops"
    : "";
  die pack("H*", $of{name}) . " $why by now\n" if $why;
  $images++;
  $backings++ if defined $of{backing};
}

# The end of a chain.
sub check {
  die "a backing file is no plain path by now\n" if !$images || $backings != $images - 1;
  $images = $backings = 0;
}

sub strays {
  my ($disk, $backing) = @_;
  my ($folder) = $disk =~ m{^(.*/vm_images/\.vmops)/disk-[^/]*\z}s or return 0;
  return $backing ne "" && $backing !~ m{^(?:\Q$folder\E/)?base-[0-9a-f]{64}\.(?:qcow2|raw)\z};
}
