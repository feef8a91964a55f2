# The frames of a TAP for one caller, in the format of pcap, until he has gone or there are enough. It
# stands behind attend.pl; its arguments are the TAP, how many frames (0: no end) and a filter.
#
# The caller is told `ok`, and gets the frames; or `no` and why not.
my ($tap, $count, $filter) = @ARGV;
-e "/sys/class/net/$tap" or die "there is no TAP $tap\n";
my ($tcpdump) = grep { -x } map { "$_/tcpdump" } split /:/, $ENV{PATH};
my $caller = attend();

# Without tcpdump: every frame, without a filter. SIOCGSTAMP tells when the last one came.
sub sniff {
    my $every = unpack 'S', pack 'n', 3;
    socket my $wire, 17, 3, 0 or die "no packet socket: $!\n";
    open my $file, '<', "/sys/class/net/$tap/ifindex" or die "there is no TAP $tap\n";
    chomp(my $index = <$file>);
    bind $wire, pack 'S S i S C C a8', 17, $every, $index, 0, 0, 0, '' or die "$tap: $!\n";
    syswrite STDOUT, pack 'L S S l L L L', 0xa1b2c3d4, 2, 4, 0, 0, 262144, 1;
    for (my $seen = 0; !$count || $seen < $count; $seen++) {
        defined recv $wire, my $frame, 262144, 0 or die "$tap: $!\n";
        my $time = "\0" x 64;
        my ($s, $us) = ioctl($wire, 0x8906, $time) ? unpack 'l! l!', $time : (time, 0);
        my $length = length $frame;
        defined syswrite STDOUT, pack('L4', $s, $us, $length, $length) . $frame or return;
    }
}

if (!$tcpdump && length $filter) {
    say_to($caller, 'no tcpdump');
    _exit(0);
}
my @words = ($tcpdump // (), qw(-n -U --immediate-mode -w - -i), $tap);
push @words, '-c', $count if $count;
push @words, '--', $filter if length $filter;
pipe my $data, my $into or _exit(1);
pipe my $said, my $saying or _exit(1);
open my $nothing, '<', '/dev/null';
my $process = start($nothing, $into, $saying, sub {
    if ($tcpdump) { exec { $tcpdump } @words; die "tcpdump: $!\n" }
    eval { sniff() };
    print STDERR $@;
});
close $into;
close $saying;

# Until there are frames no more, or the caller has gone. He says nothing: what can be read of him is
# his end.
my ($begun, $last) = (0, '');
while (1) {
    my $waiting = '';
    vec($waiting, fileno $_, 1) = 1 for $data, $said ? $said : (), $caller;
    select $waiting, undef, undef, undef;
    if (vec $waiting, fileno $caller, 1) { last unless sysread $caller, my $word, 4096 }
    if ($said && vec $waiting, fileno $said, 1) {
        if (sysread $said, my $words, 4096) { $last = substr $last . $words, -2000 }
        else { undef $said }
    }
    next unless vec $waiting, fileno $data, 1;
    last unless sysread $data, my $frames, 65536;
    if (!$begun) { say_to($caller, 'ok') or last; $begun = 1 }
    while (length $frames) {
        my $sent = syswrite $caller, $frames;
        last unless defined $sent;
        substr($frames, 0, $sent) = '';
    }
    last if length $frames;
}
if (!$begun) {
    $last .= $_ while $said && sysread $said, $_, 4096;
    my @lines = grep { /\S/ } split /\n/, $last;
    say_to($caller, "no @lines[-1 .. -1]") if @lines;
}
finish($process);
close $caller;
