# Reads images that QEMU is to open for writing, and their backing files. Run it as the SSH user.
#
# Arguments: the format of an image, its name, and so on for each; "base:" before the format is for
# one that others stand on, which is only read. Standard output: a line for each image of a chain,
# keys and values in turn, names in hexadecimal; an empty line ends the chain.
#
# It opens plain files and block devices, and reads of each no more than the cluster that the header
# is in. It reads as QEMU's block/qcow2.c does: a name ends at a NUL, the last of several extensions
# counts, and a relative name starts from the folder of the name by which the image was opened, not
# of what a link there leads to. Without a format in the header QEMU probes; of what it may find
# then, only qcow2 is told.
#
# The first image is opened for writing, as QEMU does, though nothing is written. QEMU's locks are
# bytes of the file: 100 + n is held by who uses permission n, 200 + n by who grants it to nobody
# else (0 read, 1 write, 3 resize). What is asked is whether ours would be refused.
#
# A name is looked up again by QEMU, so "loose" is what somebody else could turn on the way there by
# then, and "by" who could: "all" that may write there, the "owner", a "group", or, in "proc", nobody:
# there one name is another file for each process.
use Fcntl;
my ($as, $name, $chosen, %seen, %is_private);
while (@ARGV) {
  ($as, $name) = splice @ARGV, 0, 2;
  my $above = $as =~ s/^base://;
  %seen = ();
  ($chosen) = $name =~ m{^(.*/)}s;
  for my $depth (0 .. 64) {
    my @told = ("name", hex_of($name), "as", hex_of($as));
    my $next = $depth < 64 ? image(\@told, $depth + $above, $depth) : note(\@told, "fault", "deep");
    print "@told\n";
    last unless defined $next;
    $name = $next;
  }
  print "\n";
}

sub hex_of { unpack "H*", $_[0] }
sub note { my $told = shift; push @$told, @_; return }
sub u32 { length($_[0]) >= $_[1] + 4 ? unpack("N", substr $_[0], $_[1], 4) : 0 }
sub u64 { length($_[0]) >= $_[1] + 8 ? unpack("Q>", substr $_[0], $_[1], 8) : 0 }
sub until_nul { (split /\0/, $_[0], 2)[0] // "" }

sub image {
  my ($told, $depth, $named_by_header) = @_;
  my @found = stat $name or return note($told, "fault", "stat", "why", hex_of($!));
  note($told, "mode", sprintf("%o", $found[2]), "owner", $found[4]);
  -f _ || -b _ or return note($told, "fault", "odd");
  my $way = $depth ? O_RDONLY : O_RDWR;
  sysopen my $file, $name, $way | O_NONBLOCK
    or return note($told, "fault", "open", "why", hex_of($!));
  my @same = stat $file;
  "@same[0, 1]" eq "@found[0, 1]" or return note($told, "fault", "swapped");
  my $size = -b _ ? sysseek($file, 0, 2) + 0 : $same[7];
  note($told, "id", "$same[0]:$same[1]", "size", $size, "used", 512 * ($same[12] || 0));
  my $real = readlink("/proc/self/fd/" . fileno $file) // $name;
  if (my ($loose, $by) = loose($name, $named_by_header)) {
    note($told, "loose", hex_of($loose), "by", $by);
  }
  note($told, "public", 1) if $found[2] & 4 && is_reached_by_all($real);
  my ($held) = grep { is_held($file, $_) } $depth ? (101, 103, 200) : (101, 103, 200, 201, 203);
  note($told, "held", $held) if $held;
  return note($told, "fault", "loop") if $seen{"@same[0, 1]"}++;
  return header($told, $file);
}

sub is_held {
  my ($file, $byte) = @_;
  my $lock = pack "s s x4 q q i x4", F_WRLCK, 0, $byte, 1, 0;
  return fcntl($file, F_GETLK, $lock) && unpack("s", $lock) != F_UNLCK;
}

sub is_reached_by_all {
  my $folder = "";
  for my $part (split m{/+}, shift) {
    my @found = stat "$folder/" or last;
    return if !($found[2] & 1);
    $folder .= "/$part" if length $part;
  }
  return 1;
}

# What somebody else than root and the SSH user could put another file in the place of, on the way to
# a file, and who. Nothing where there is none.
#
# A guest chooses what a header names, and may have an ally on the worker. So of that each folder,
# each link and the file have to be root's or the SSH user's, and nobody else may write there. What
# hosts.toml names, and so the folder of it too, is the operator's choice: a group may write there.
sub loose {
  my ($name, $named_by_header) = @_;
  my $begins = $named_by_header && defined $chosen && index($name, $chosen) == 0;
  my @rest = parts($begins ? ($chosen, 0) : ($name, $named_by_header));
  push @rest, parts(substr($name, length $chosen), 1) if $begins;
  my ($here, $strictly, $is_sticky, $turns) = ("", 0, 0, 0);
  my $proc = -e "/proc/self" ? (stat "/proc")[0] : -1;
  while (1) {
    my ($device, $mode, $owner, $group) = (lstat($here || "/"))[0, 2, 4, 5];
    my ($is_link, $is_folder, $place) = (-l _, -d _, $here || "/");
    return if !defined $device;
    return ($place, "proc") if $device == $proc;
    return ($place, "owner") if !is_trusted($owner) && ($is_folder || $is_sticky || $strictly);
    my $by_group = $strictly && $mode & 020 && !is_private($group);
    if ($is_link) {
      my $to = readlink $here;
      return if !defined $to || ++$turns > 40;
      unshift @rest, parts($to, $strictly);
      ($here, $is_sticky) = $to =~ m{^/} ? ("", 0) : (parent($here), $is_sticky);
    }
    elsif ($is_folder) {
      $is_sticky = $mode & 01000 && ($mode & 2 || $by_group);
      return ($place, $mode & 2 ? "all" : "group") if !$is_sticky && ($mode & 2 || $by_group);
    }
    elsif ($by_group && $as ne "raw") { return ($place, "group") }
    return if !@rest;
    (my $part, $strictly) = @{ shift @rest };
    $here = $part eq ".." ? parent($here) : "$here/$part";
  }
}

# The parts of a name, each with whether it was chosen by who wrote a header.
sub parts {
  my ($name, $strictly) = @_;
  return map { [$_, $strictly] } grep { length && $_ ne "." } split m{/+}, $name;
}

sub parent { $_[0] =~ m{^(.*)/}s ? $1 : "" }

# Where root logs in itself, nothing is kept from who can choose a name: root may open any file.
sub is_trusted { $_[0] == 0 || $_[0] == $< || $< == 0 }

# Whether nobody but root and the SSH user is in a group, as in one that a user has alone: with that
# one, Ubuntu lets it write what the user makes. Debian's sshd has the same rule.
sub is_private {
  my $group = shift;
  return 1 if $< == 0;
  return $is_private{$group} //= do {
    my @members = split / /, (getgrgid $group)[3] // "";
    my @owners = map { scalar getpwnam($_) // -1 } @members;
    setpwent;
    while (my @user = getpwent) { push @owners, $user[2] if $user[3] == $group }
    @owners && !grep({ !is_trusted($_) } @owners) ? 1 : 0;
  };
}

sub header {
  my ($told, $file) = @_;
  sysseek $file, 0, 0;
  sysread $file, my $head, 512;
  my $is_qcow2 = $head =~ /^QFI\xfb/ && u32($head, 4) >= 2;
  note($told, "looks", $is_qcow2 ? "qcow2" : "other");
  return if $as eq "raw" || $as ne "qcow2" && $as ne "";
  return if !$is_qcow2;
  my ($version, $bits) = (u32($head, 4), u32($head, 20));
  return note($told, "fault", "header") if $version > 3 || $bits < 9 || $bits > 21;
  my $cluster = 1 << $bits;
  sysseek $file, 0, 0;
  sysread $file, $head, $cluster;
  my $length = $version == 3 ? u32($head, 100) : 72;
  my $features = $version == 3 ? u64($head, 72) : 0;
  my ($offset, $bytes) = (u64($head, 8), u32($head, 16));
  my $end = $offset || $cluster;
  my $backing = $offset && $offset <= $cluster ? substr($head, $offset, $bytes) // "" : "";
  return note($told, "fault", "header")
    if $length < 72 || $version == 3 && $length < 104 || $length > $cluster || $offset > $cluster
    || $offset && ($bytes > 1023 || $bytes > $cluster - $offset || length $backing < $bytes);
  my ($at, $format, $data) = ($length, "");
  while ($at < $end) {
    last if $at + 8 > length $head;
    my ($kind, $size) = (u32($head, $at), u32($head, $at + 4));
    $at += 8;
    return note($told, "fault", "header") if $at > $end || $size > $end - $at;
    last if $kind == 0;
    my $value = until_nul(substr $head, $at, $size);
    if ($kind == 0xE2792ACA) {
      return note($told, "fault", "header") if $size > 15;
      $format = $value;
    }
    $data = $value if $kind == 0x44415441;
    $at += ($size + 7) & ~7;
  }
  note($told, "virtual", u64($head, 24), "crypt", u32($head, 32));
  note($told, "features", sprintf "%x", $features);
  note($told, "data", hex_of($data)) if defined $data;
  $backing = until_nul($backing);
  note($told, "backing", hex_of($backing), "format", hex_of($format)) if length $backing;
  return note($told, "fault", "header") if !has_tables($head, $bits, $features & 16);
  return unless length $backing;
  return if $backing =~ m{^[^:/]*:};
  $as = $format;
  return $backing if $backing =~ m{^/};
  return ($name =~ m{^(.*/)}s ? $1 : "") . $backing;
}

# Whether the tables of an image are of a size that QEMU reads, and large enough for the disk.
sub has_tables {
  my ($head, $bits, $has_long_entries) = @_;
  my ($bytes, $entries, $counts) = (u64($head, 24), u32($head, 36), u32($head, 56));
  my $by_entry = 2 * $bits - ($has_long_entries ? 4 : 3);
  my $needed = ($bytes >> $by_entry) + !!($bytes & ((1 << $by_entry) - 1));
  return if $needed > $entries || $entries > 1 << 22;
  return if !$counts || $counts > (1 << 23) >> $bits || u32($head, 60) > 65536;
  return !grep { $_ >> 63 || $_ & ((1 << $bits) - 1) } u64($head, 40), u64($head, 48);
}
