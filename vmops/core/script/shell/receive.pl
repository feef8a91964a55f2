# Receives an image on standard input. It stands behind arrival.pl.
#
# Further arguments: its size, its bytes of data, 1 where the sender can pack. Beside the lines of
# arrival.pl it says:
#
#     at OFFSET zstd|plain   send from there on, packed or not
#
# The stream is what core/images/stream.py describes.
my ($size, $data, $packs) = @ARGV;
my $end = ~0;
($at, $used) = (0, 0) if $at > $size && truncate $file, 0;
my $free = free_bytes();
if ($data - $used > $free) {
    unlink $part if !$at;
    finish('full', $free, $data - $used);
}
$packs &&= program('zstd');
print "at $at ", $packs ? 'zstd' : 'plain', "\n";
by_another_worker() if defined &by_another_worker;
my $in = *STDIN;
if ($packs) {
    undef $in;
    $source = open $in, '-|', 'zstd', '-dcq' or finish('failed', $!);
}
begin();

while (1) {
    my ($offset, $left) = unpack 'Q>Q>', take_all(16);
    conclude($size) if $left == $end;
    if ($offset == $end) { take_all($left); next }
    while ($left) {
        my $bytes = take($left);
        $left -= length $bytes;
        write_at($offset, $bytes);
        $offset += length $bytes;
    }
    good_until($offset);
}

sub take {
    alarm $patience;
    my $got = sysread $in, my $bytes, $_[0] < $piece ? $_[0] : $piece;
    leave(1) if !$got;
    return $bytes;
}
sub take_all {
    my ($wanted, $bytes) = ($_[0], '');
    $bytes .= take($wanted - length $bytes) while length $bytes < $wanted;
    return $bytes;
}
