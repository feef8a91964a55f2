# A door into a VLAN for one caller: a port of the switch in a network namespace of its own, with an
# address that nobody has, for as long as he stays. It stands behind attend.pl; its arguments are the
# bridge, the VLAN, the MTU, the prefix's bits, addresses to choose from, a gateway or nothing, and what
# is to be done. In place of the VLAN OVN's port for it, and its MAC, with a comma between: then OVN has
# kept the address for it. To be done is `tcp ADDRESS PORT`, `ping ADDRESS COUNT`, or `dhcp MAC SECONDS SERVER`, which needs no
# address, and waits three times as long for that server where it is given.
#
# The caller is told `ok ADDRESS`, and gets the connection, a line for each echo, or one for each offer
# that the MAC is made; or `no` and why.
my ($bridge, $vlan, $mtu, $bits, $choice, $gateway, $what, $target, $number, $server) = @ARGV;
my %unshare = (x86_64 => 272, aarch64 => 97, riscv64 => 97, ppc64le => 282, s390x => 303, i686 => 310);
my @vsctl = ('ovs-vsctl', '--timeout=10');
my $caller = attend();
my $door = sprintf 'vmd%08x', int rand 2**32;
my ($port, $own_mac) = $vlan =~ /^(.*),(.*)$/;

sub vsctl { return system(@vsctl, @_) == 0 }
sub ip { system('ip', @_) == 0 or die "ip @_ failed\n" }
sub no_way { my $why = shift; $why =~ s/\n.*//s; say_to($caller, "no $why") }

# Doors whose keeper was killed: nobody else takes them away.
for my $row (split /\n/, qx{@vsctl --bare --no-headings --columns=name,external_ids find Interface type=internal} ) {
    # Two lines for each: the name, and its marks.
    our $name;
    if ($row =~ /^vmd[0-9a-f]{8}$/) { $name = $row; next }
    next unless $name && $row =~ /vmops-door="?(\d+)/;
    my $keeper = '';
    if (open my $file, '<', "/proc/$1/comm") { $keeper = <$file> // '' }
    vsctl('--if-exists', 'del-port', $name) if $keeper ne "perl\n";
    $name = '';
}

my $ended = 0;
$SIG{TERM} = $SIG{INT} = sub { $ended = 1 };
my @attached = $port ? ("mac=\"$own_mac\"", "external_ids:iface-id=\"$port\"") : ();
if (!vsctl('add-port', $bridge, $door, $port ? () : "tag=$vlan", '--', 'set', 'Interface', $door,
           'type=internal', "external_ids:vmops-door=$$", @attached)) {
    no_way('no port could be made ' . ($port ? 'for OVN' : "in VLAN $vlan") . " on $bridge");
    _exit(0);
}
if ($port && !vsctl('wait-until', 'Interface', $door, 'external_ids:ovn-installed=true')) {
    no_way('OVN has not brought up its port within 10 s: does ovn-controller run?');
    vsctl('--if-exists', 'del-port', $door);
    _exit(0);
}
pipe my $ready, my $am_ready;
pipe my $go, my $may_go;
my $inside = fork // _exit(1);
if (!$inside) {
    $SIG{$_} = 'DEFAULT' for 'PIPE', 'TERM', 'INT';
    close $ready;
    close $may_go;
    eval { through() };
    no_way($@) if $@;
    _exit(0);
}
close $am_ready;
close $go;
my $said = sysread $ready, my $word, 1;
if ($said && system('ip', 'link', 'set', 'dev', $door, 'netns', $inside) == 0) {
    syswrite $may_go, 'g';
} elsif ($said) {
    no_way("$door could not be taken into its namespace");
    kill 'KILL', $inside;
}
close $caller;
close $may_go;
until ($ended || waitpid($inside, WNOHANG)) { select undef, undef, undef, 0.05 }
finish_one($inside) if $ended;
vsctl('--if-exists', 'del-port', $door) || vsctl('--if-exists', 'del-port', $door);
_exit(0);

sub finish_one { my $process = shift; kill 'KILL', $process; waitpid $process, 0 }

# What runs in the namespace.
sub through {
    my $number_of = $unshare{(POSIX::uname())[4]} or die "no namespaces on this machine's kind\n";
    syscall($number_of, 0x40000000) == 0 or die "no network namespace: $!\n";
    syswrite $am_ready, 'r';
    sysread $go, my $word, 1 or _exit(0);
    ip('link', 'set', 'lo', 'up');
    ip('link', 'set', 'dev', $door, 'mtu', $mtu, 'addrgenmode', 'none');
    ip('link', 'set', 'dev', $door, 'up');
    if ($what eq 'dhcp') { offers(); return }
    my $address = $port ? $choice : unused(split /,/, $choice);
    ip('addr', 'add', "$address/$bits", 'dev', $door);
    ip('route', 'add', 'default', 'via', $gateway) if length $gateway;
    $what eq 'ping' ? echoes($address) : relay($address);
}

# A packet socket for one type of frame at the door, and the door's own address.
sub wire {
    my $type = unpack 'S', pack 'n', shift;
    socket my $wire, 17, 3, 0 or die "no packet socket: $!\n";
    my $found = qx{ip -o link show dev $door};
    my ($index) = $found =~ /^(\d+):/ or die "$door is not there\n";
    my ($mac) = $found =~ m{link/ether ([0-9a-f:]+)} or die "$door has no address\n";
    bind $wire, pack 'S S i S C C a8', 17, $type, $index, 0, 0, 0, '' or die "$door: $!\n";
    return ($wire, pack 'H12', $mac =~ tr/://dr);
}

# Its next frame within so many seconds, or nothing.
sub heard {
    my ($wire, $seconds) = @_;
    my $waiting = '';
    vec($waiting, fileno $wire, 1) = 1;
    return unless select $waiting, undef, undef, $seconds > 0 ? $seconds : 0;
    recv $wire, my $frame, 2048, 0;
    return $frame;
}

# Who offers the MAC an address. It is asked for in the message alone: the frame has the door's own, so
# that no switch takes the door for the guest. Nothing is requested, so no lease is made.
sub offers {
    my ($wire, $from) = wire(0x0800);
    my $call = int rand 2**32;
    my $asked = pack('C4 N n n a16 a6 x202 N', 1, 1, 6, 0, $call, 0, 0x8000, '',
        pack('H12', $target =~ tr/://dr), 0x63825363) . "\x35\x01\x01\xff";
    my $udp = pack('n4', 68, 67, 8 + length $asked, 0) . $asked;
    my @head = (0x4500, 20 + length $udp, 1, 0, 0x4011);
    my $ip = pack 'n5 n N N', @head, sum(pack 'n5 n N N', @head, 0, 0, 0xffffffff), 0, 0xffffffff;
    say_to($caller, 'ok') or return;
    my ($begun, $again, %told) = (now(), 0);
    while ((my $left = $begun + ($server ? 3 : 1) * $number - now()) > 0) {
        if (now() >= $again) {
            syswrite $wire, "\xff" x 6 . $from . "\x08\x00" . $ip . $udp;
            $again = now() + 1;
        }
        my $frame = heard($wire, $left < 0.2 ? $left : 0.2) // next;
        next if length $frame < 282 || unpack('C', substr $frame, 23) != 17;
        next if unpack('n', substr $frame, 36) != 68 || unpack('N', substr $frame, 46) != $call;
        next if unpack('C', substr $frame, 42) != 2;
        my $offer = join ' ', map { inet_ntoa($_) } substr($frame, 26, 4), substr($frame, 58, 4);
        next if $told{$offer}++;
        say_to($caller, "offer $offer") or return;
        $server = '' if $server && $offer =~ /^\Q$server\E /;
    }
}

# The first of these that nobody answers for. Without a word of a sender's address, so that nobody
# learns one which is another's.
sub unused {
    my ($wire, $from) = wire(0x0806);
    for my $address (@_) {
        my $wanted = inet_aton($address);
        my $asks = pack 'a6 a6 n n n C C n a6 N a6 a4', "\xff" x 6, $from, 0x0806, 1, 0x0800, 6, 4, 1,
            $from, 0, "\0" x 6, $wanted;
        syswrite $wire, $asks . "\0" x 18;
        my ($turns, $taken) = (6, 0);
        while ($turns-- > 0 && !$taken) {
            my $frame = heard($wire, 0.05) // next;
            $taken = 1 if length $frame >= 42 && substr($frame, 28, 4) eq $wanted
                && substr($frame, 6, 6) ne $from;
        }
        return $address unless $taken;
    }
    die "every address that was tried is taken\n";
}

sub relay {
    my $address = shift;
    require IO::Socket::INET;
    my $there = IO::Socket::INET->new(PeerAddr => $target, PeerPort => $number, Timeout => 10)
        or die "$target port $number: " . ($@ =~ s/^.*?: //r) . "\n";
    say_to($caller, "ok $address") or return;
    my $back = fork // die "fork: $!\n";
    my ($in, $out) = $back ? ($caller, $there) : ($there, $caller);
    while (sysread $in, my $bytes, 65536) {
        while (length $bytes) {
            my $sent = syswrite $out, $bytes;
            last unless defined $sent;
            substr($bytes, 0, $sent) = '';
        }
        last if length $bytes;
    }
    # Either end is the end of both: nobody is left to talk to.
    shutdown $_, 2 for $there, $caller;
    waitpid $back, 0 if $back;
}

sub sum {
    my $total = 0;
    $total += $_ for unpack 'n*', $_[0];
    $total = ($total >> 16) + ($total & 0xffff) for 1, 2;
    return ~$total & 0xffff;
}

sub now {
    my ($s, $us) = (time, 0);
    if (eval { require Time::HiRes }) { return Time::HiRes::time() }
    if (open my $file, '<', '/proc/uptime') { return (split ' ', <$file>)[0] }
    return $s;
}

sub echoes {
    my $address = shift;
    socket my $wire, 2, 3, 1 or die "no socket for echoes: $!\n";
    say_to($caller, "ok $address") or return;
    my $there = pack_sockaddr_in(0, inet_aton($target));
    for my $turn (1 .. $number) {
        my $body = pack 'n n a48', $$ & 0xffff, $turn, 'vmops';
        my $sent_at = now();
        send $wire, pack('C C n', 8, 0, sum(pack('C C n', 8, 0, 0) . $body)) . $body, 0, $there;
        my $told = "lost $turn";
        while ((my $left = $sent_at + 1 - now()) > 0) {
            my $waiting = '';
            vec($waiting, fileno $wire, 1) = 1;
            last unless select $waiting, undef, undef, $left;
            recv $wire, my $packet, 2048, 0;
            my $header = 4 * (ord($packet) & 15);
            my ($type, undef, undef, $id, $which) = unpack 'C C n n n', substr $packet, $header;
            next unless $type == 0 && $id == ($$ & 0xffff) && $which == $turn;
            $told = sprintf 'reply %d %.2f', $turn, 1000 * (now() - $sent_at);
            last;
        }
        say_to($caller, $told) or return;
        select undef, undef, undef, 0.3 if $turn < $number && $told =~ /^reply/;
    }
}
