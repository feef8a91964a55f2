# Sends a file as the stream that receive.pl takes: the parts with data, each behind its place. It
# runs as the SSH user.
#
# Argument: the file. It says first, on standard output, "file SIZE DATA", the bytes of all of it and
# of its parts that are no hole. Then it reads a line, "from OFFSET", and what follows is the stream
# from there on. Or "failed WHY".
use Fcntl ':DEFAULT';
my ($path) = @ARGV;
my ($piece, $block, $end) = (65536, 1048576, ~0);
$| = 1;
$path =~ s{^~(?=/|$)}{$ENV{HOME}};
sub fail { print "failed $_[0]\n"; exit 1 }
sysopen my $file, $path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK or fail($!);
fail('it is no plain file') if !-f $file;
my $size = (stat _)[7];

# 3 is SEEK_DATA, which fails with ENXIO (6) where only a hole follows; 4 is SEEK_HOLE. A file system
# that knows no holes says that all is data.
sub data_from { return sysseek($file, $_[0], 3) // ($! == 6 ? $size : $_[0]) }
sub hole_from { return sysseek($file, $_[0], 4) || $size }
my $data = 0;
for (my $at = 0; $at < $size;) {
    my $begin = data_from($at) + 0;
    last if $begin >= $size;
    $at = hole_from($begin);
    $data += $at - $begin;
}
print "file $size $data\n";
my $line = <STDIN> // exit 1;
$line =~ /^from (\d+)$/ or fail('it was told something else than where to begin');
my $at = $1;

sub put {
    my $done = 0;
    while ($done < length $_[0]) { $done += syswrite(STDOUT, $_[0], length($_[0]) - $done, $done) || exit 1 }
}
my $spoken = time;
my $zeros = "\0" x $piece;
while ($at < $size) {
    $at = data_from($at) + 0;
    last if $at >= $size;
    my $hole = hole_from($at);
    while ($at < $hole) {
        my $many = $block - $at % $block;
        $many = $hole - $at if $hole - $at < $many;
        sysseek $file, $at, 0;
        my $got = sysread($file, my $bytes, $many);
        # It has become shorter, or cannot be read: the other end finds that it is not whole.
        exit 1 if !$got;
        # What is all zeros is left out, a piece at a time.
        for (my $begin = 0; $begin < $got;) {
            my $long = $piece - ($at + $begin) % $piece;
            $long = $got - $begin if $got - $begin < $long;
            my $part = substr $bytes, $begin, $long;
            if ($part ne substr($zeros, 0, $long)) {
                put(pack('Q>Q>', $at + $begin, $long) . $part);
                $spoken = time;
            }
            $begin += $long;
        }
        $at += $got;
        # A long row of zeros must not be taken for the end.
        if (time - $spoken > 5) { put(pack('Q>Q>', $end, 1) . "\0"); $spoken = time }
    }
}
put(pack('Q>Q>', $size, $end));
