# Receives an image on standard input. It stands behind number.pl and arrival.pl.
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
fcntl $in, 1031, 1 << 20; # F_SETPIPE_SZ

# Another worker may be the sender: it writes what was promised, in its order, and no more.
my ($until, $most_filler) = ($at, 1 << 20);
# Each piece renews the patience, be it a filler or a byte. So there has to be a MiB of data in ten
# minutes too, but for as many times ten as whoever sends may need to read zeros, 4 GiB in each.
my ($window, $least, $quiet) = (600, 1 << 20, 1 + ($size >> 32));
my ($from, $came) = (time, 0);
while (1) {
    in_time();
    my ($offset, $left) = unpack 'Q>Q>', take_all(16);
    conclude($size) if $left == $end;
    my $is_filler = $offset == $end;
    strange() if $is_filler ? $left > $most_filler
        : $offset < $until || $offset > $size || $left > $size - $offset;
    while ($left) {
        in_time();
        my $many = $is_filler ? length take($left) : take_to($offset, $left);
        $left -= $many;
        ($offset, $came) = ($offset + $many, $came + $many) if !$is_filler;
    }
    good_until($until = $offset) if !$is_filler;
}

sub strange {
    unlink $part;
    finish('failed', 'what comes is no part of what was promised');
}
# As one who says nothing any more.
sub in_time {
    return if time - $from <= $window;
    leave(1) if $came < $least && !$quiet--;
    ($from, $came) = (time, 0);
}
sub take {
    alarm $patience;
    my $got = sysread $in, my $bytes, $_[0] < $piece ? $_[0] : $piece;
    leave(1) if !$got;
    return $bytes;
}
# Into the file. What cannot be passed on is read and written: a full disk is told by that.
sub take_to {
    my ($offset, $most) = @_;
    alarm $patience;
    sysseek $file, $offset, 0;
    my $many = passed($in, $file, $most, 0);
    leave(1) if !$many;
    return $many if $many > 0;
    undef $splice;
    my $bytes = take($most);
    write_at($offset, $bytes);
    return length $bytes;
}
sub take_all {
    my ($wanted, $bytes) = ($_[0], '');
    $bytes .= take($wanted - length $bytes) while length $bytes < $wanted;
    return $bytes;
}
