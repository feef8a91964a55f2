# Hears for some seconds what TAPs give out to their guests of one run's probes, and writes a line
# `TAP MARK FRAME` for each, once, or `deaf TAP WHY`. Its arguments are the file for that, the mark of
# the run and for how many seconds; then each TAP with its VM, or with nothing. It ends when the file
# is gone.
use Fcntl qw(:DEFAULT :flock);
use POSIX qw(setsid _exit);
my ($path, $run, $seconds, @pairs) = @ARGV;
my $mark = pack 'H*', $run;
my ($folder, $old) = ($path =~ s{/[^/]*$}{}r, time - 120);
# Those of listeners that were killed.
if (opendir my $listed, $folder) {
    for my $left (map { "$folder/$_" } grep { /^\.heard\./ } readdir $listed) {
        my @was = lstat $left;
        unlink $left if @was && $was[9] < $old;
    }
}
sysopen my $file, $path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND, 0600 or die "$path: $!\n";
my (@ears, %held);

sub first_line { open my $at, '<', $_[0] or return ''; my $line = <$at> // ''; chomp $line; $line }

# A TAP of a VM that does not run: nobody is to start that meanwhile, who would find its TAP in use.
sub hold {
    my ($tap, $vm) = @_;
    if (!$held{$vm}) {
        my $lock = "$folder/.lock/$vm";
        sysopen my $locked, $lock, O_RDWR | O_CREAT, 0600 or return "its lock: $!";
        my $is_free = flock $locked, LOCK_EX | LOCK_NB;
        my @now = stat $lock;
        return 'its VM is being changed' if !$is_free || !@now || $now[1] != (stat $locked)[1];
        $held{$vm} = $locked;
    }
    open my $tun, '+<', '/dev/net/tun' or return "/dev/net/tun: $!";
    # TUNSETIFF, with IFF_TAP and IFF_NO_PI.
    ioctl $tun, 0x400454ca, pack 'a16 S x22', $tap, 0x1002 or return "it is in use: $!";
    push @ears, [$tap, $tun, 0];
    return '';
}

while (my ($tap, $vm) = splice @pairs, 0, 2) {
    my $index = first_line("/sys/class/net/$tap/ifindex") or next;
    if (length $vm && first_line("/sys/class/net/$tap/carrier") eq '0') {
        my $why = hold($tap, $vm) or next;
        syswrite $file, "deaf $tap $why\n";
        next;
    }
    my $every = unpack 'S', pack 'n', 3;
    socket my $wire, 17, 3, 0 or die "no packet socket: $!\n";
    bind $wire, pack 'S S i S C C a8', 17, $every, $index, 0, 0, 0, '' or die "$tap: $!\n";
    push @ears, [$tap, $wire, 1];
}
my $started = fork;
die "fork: $!\n" unless defined $started;
_exit(0) if $started;
setsid();
for my $stream (*STDIN, *STDOUT, *STDERR) { open $stream, '+<', '/dev/null' }
my %mine = map { (fileno $_, 1) } $file, values %held, map { $$_[1] } @ears;
for (3 .. 255) { POSIX::close($_) unless $mine{$_} }

my ($until, %said) = (time + $seconds);
while (time < $until && -e $path) {
    my $waiting = '';
    vec($waiting, fileno $$_[1], 1) = 1 for @ears;
    select($waiting, undef, undef, 0.1) > 0 or next;
    for my $ear (grep { vec $waiting, fileno $$_[1], 1 } @ears) {
        my ($tap, $from, $is_wire) = @$ear;
        my $frame = '';
        if ($is_wire) {
            my $sender = recv $from, $frame, 2048, 0;
            # Only what goes out to the guest: PACKET_OUTGOING.
            next unless defined $sender && (unpack 'S S i S C', $sender)[4] == 4;
        } else {
            next unless sysread $from, $frame, 65536;
        }
        my $at = index substr($frame, 0, 64), $mark;
        next if $at < 0;
        my $which = unpack 'H*', substr $frame, $at, 6;
        # Of UDP more: what it answers stands behind what was asked.
        my $long = substr($frame, 23, 1) eq "\x11" ? 256 : 64;
        my $line = "$tap $which " . unpack('H*', substr $frame, 0, $long) . "\n";
        syswrite $file, $line unless $said{$line}++;
    }
}
unlink $path;
_exit(0);
