# What guests of the networks on this node can do there, tried by guests that are none. Each network has
# one, with an address and a MAC that are nobody's. What it sends goes in by the node's own end of the
# pair into the network's namespace, as if it had come by the bridge: the bridge learns nothing of it.
#
# Arguments: four hex digits and four more which everything of this run carries, for how many seconds
# answers are waited for, and then of each network `net NAME GATEWAY ADDRESS MAC SHORT UPLINK` (the device
# out, or `-`), and of each thing to be tried, `try NUMBER NETWORK KIND TARGET 1` or `0`, by whether it is
# to work. Kinds: `echo` (the gateway answers), `node` (the node itself does), `out` (it leaves by the
# uplink), `to` (it comes out in another network, whose name is the target), `name` (DNS).
#
# A line each: `seen NUMBER`; `named NUMBER ADDRESS`; `silent NETWORK` whose gateway does not answer;
# `gone NETWORK` that has no port here; `blind DEVICE` that cannot be looked at.
use Socket;
my ($mark, $seconds) = splice @ARGV, 0, 2;
my $magic = pack 'H8', $mark;
my ($arp, $ip) = (0x0806, 0x0800);
my (%nets, %tries, %seen, %told, %outs);

sub now { open my $file, '<', '/proc/uptime' or return time; return (split ' ', <$file>)[0] }
sub report { print "@_\n" unless $told{"@_"}++ }
sub sum {
    my $bytes = $_[0] . "\0" x (length($_[0]) % 2);
    my $total = 0;
    $total += $_ for unpack 'n*', $bytes;
    $total = ($total >> 16) + ($total & 0xffff) for 1, 2;
    return ~$total & 0xffff;
}

# A packet socket on a device, which takes what passes the filter: SO_ATTACH_FILTER is 26. `kind` is 3
# with the frame's header, 2 without.
sub wire {
    my ($device, $kind, @filter) = @_;
    open my $file, '<', "/sys/class/net/$device/ifindex" or return;
    chomp(my $index = <$file>);
    socket my $wire, 17, $kind, 0 or return;
    my $code = join '', map { pack 'S C C L', @$_ } @filter;
    setsockopt $wire, 1, 26, pack 'S x![P] P', scalar @filter, $code or return;
    bind $wire, pack 'S S i S C C a8', 17, unpack('S', pack 'n', 3), $index, 0, 0, 0, '' or return;
    return $wire;
}

# Frames for our guests, which begin with 0e76 and the first four digits, and ARP for all.
sub port {
    my @ours = ([0x20, 0, 0, 0], [0x15, 3, 0, unpack 'N', pack 'n H4', 0x0e76, $mark]);
    my @arps = ([0x28, 0, 0, 12], [0x15, 1, 0, $arp], [0x06, 0, 0, 0], [0x06, 0, 0, 2048]);
    return wire($_[0], 3, @ours, @arps);
}

# Echoes that carry our mark: 8 bytes of ICMP, and then it.
sub outward {
    return wire($_[0], 2, [0x30, 0, 0, 9], [0x15, 0, 3, 1], [0x20, 0, 0, 28],
        [0x15, 0, 1, unpack 'N', $magic], [0x06, 0, 0, 2048], [0x06, 0, 0, 0]);
}

while (defined(my $word = shift @ARGV)) {
    if ($word eq 'net') {
        my ($name, $gateway, $address, $mac, $short, $uplink) = splice @ARGV, 0, 6;
        my $net = { name => $name, gateway => inet_aton($gateway), address => inet_aton($address),
            mac => pack('H12', $mac =~ tr/://dr), short => $short };
        $net->{wire} = port("vml$short") or do { report('gone', $name); next };
        $nets{$name} = $net;
        next if $uplink eq '-' || exists $outs{$uplink};
        $outs{$uplink} = outward($uplink) or report('blind', $uplink);
    } else {
        my ($number, $name, $kind, $target, $wanted) = splice @ARGV, 0, 5;
        my $net = $nets{$name} or next;
        if ($kind eq 'to') { $target = $nets{$target} ? $nets{$target}{address} : next }
        elsif ($kind eq 'name') { $tries{$number}{name} = $target; $target = $net->{gateway} }
        elsif ($kind eq 'node') {
            my $said = qx{ip -4 -o addr show dev vmu$net->{short} 2>/dev/null};
            $target = inet_aton($said =~ /inet ([0-9.]+)/ ? $1 : next);
        } else { $target = inet_aton($target) }
        %{ $tries{$number} } = (%{ $tries{$number} // {} }, net => $net, kind => $kind,
            target => $target, wanted => $wanted, number => $number);
    }
}

# ARP: the network's guest asks for its gateway, which learns it by that.
sub greet {
    my $net = shift;
    my $asks = pack 'n n C C n a6 a4 a6 a4', 1, $ip, 6, 4, 1, @$net{qw(mac address)}, "\0" x 6,
        $net->{gateway};
    syswrite $net->{wire}, "\xff" x 6 . $net->{mac} . pack('n', $arp) . $asks . "\0" x 18;
}

sub try_it {
    my $try = shift;
    my $net = $try->{net};
    my ($protocol, $data) = $try->{kind} eq 'name' ? (17, question($try)) : (1, echo($try->{number}));
    # Beyond the node's next neighbour nothing of it comes.
    my $hops = $try->{kind} eq 'out' ? 3 : 64;
    my @head = (0x4500, 20 + length $data, $try->{number} & 0xffff, 0, $hops << 8 | $protocol);
    my @ends = ($net->{address}, $try->{target});
    my $head = pack 'n5 n a4 a4', @head, sum(pack 'n5 n a4 a4', @head, 0, @ends), @ends;
    syswrite $net->{wire}, $net->{router} . $net->{mac} . pack('n', $ip) . $head . $data;
}

sub echo {
    my $body = pack 'n n a4 N a8', $$ & 0xffff, $_[0] & 0xffff, $magic, $_[0], 'vmops';
    return pack('C C n', 8, 0, sum(pack('C C n', 8, 0, 0) . $body)) . $body;
}

sub question {
    my $try = shift;
    my $name = join '', map { pack 'C/a*', $_ } split /\./, $try->{name};
    my $asks = pack('n6', $try->{number} & 0xffff, 0x0100, 1, 0, 0, 0) . "$name\0" . pack 'n2', 1, 1;
    return pack('n4', 40000 + $try->{number} % 20000, 53, 8 + length $asks, 0) . $asks;
}

# The number of what was sent, in an echo or its answer behind the header of IP.
sub number_of {
    my $data = shift;
    return unless length $data >= 16 && substr($data, 8, 4) eq $magic;
    my $number = unpack 'N', substr $data, 12, 4;
    return $tries{$number};
}

sub heard {
    my ($net, $frame) = @_;
    if (unpack('n', substr $frame, 12, 2) == $arp) {
        return unless length $frame >= 42 && substr($frame, 28, 4) eq $net->{gateway};
        $net->{router} = substr $frame, 22, 6 if unpack('n', substr $frame, 20, 2) == 2;
        # It asks for our guest again: without an answer what comes for it would not come out.
        if (substr($frame, 38, 4) eq $net->{address} && unpack('n', substr $frame, 20, 2) == 1) {
            my $says = pack 'n n C C n a6 a4 a6 a4', 1, $ip, 6, 4, 2, @$net{qw(mac address)},
                substr($frame, 22, 6), $net->{gateway};
            syswrite $net->{wire}, substr($frame, 6, 6) . $net->{mac} . pack('n', $arp) . $says
                . "\0" x 18;
        }
        return;
    }
    return unless length $frame >= 42 && substr($frame, 0, 6) eq $net->{mac};
    my $header = 4 * (ord(substr $frame, 14, 1) & 15);
    my ($protocol, $data) = (ord substr($frame, 23, 1), substr $frame, 14 + $header);
    if ($protocol == 17) { named($net, $data); return }
    return unless $protocol == 1 && defined(my $try = number_of($data));
    my $type = ord $data;
    my $comes = $try->{kind} eq 'to' ? $type == 8 && $try->{target} eq $net->{address}
        : $type == 0 && $try->{net} == $net && substr($frame, 26, 4) eq $try->{target};
    found($try) if $comes && $try->{kind} =~ /^(echo|node|to)$/;
}

sub found { my $try = shift; $seen{$try->{number}} = 1; report('seen', $try->{number}) }

# The first address that a name server gives.
sub named {
    my ($net, $data) = @_;
    return unless length $data >= 20 && unpack('n', $data) == 53;
    my ($id, $flags, $asked, $many) = unpack 'n4', substr $data, 8;
    my $try = $tries{$id} or return;
    return unless $try->{kind} eq 'name' && $try->{net} == $net;
    found($try);
    my $rest = substr $data, 20;
    $rest =~ s/^[^\0]*\0.{4}//s or return;
    return unless $many && length $rest >= 16 && unpack('n', substr $rest, 2) == 1;
    report('named', $try->{number}, inet_ntoa(substr $rest, 12, 4));
}

my ($begun, $sent, $quiet) = (now(), 0, 0);
while (%nets) {
    my $now = now();
    # Nothing is missed that waits to be read, however late this runs.
    last if $now - $begun > $seconds && $quiet || $now - $begun > 3 * $seconds;
    my @due = grep { $_->{net}{router} && !$seen{ $_->{number} } } values %tries;
    # What is not to come is waited for a while after it was last sent.
    my $missing = grep { !$_->{router} } values %nets;
    last if !$missing && $sent && $quiet && $now - $sent > 0.3 && !grep { $_->{wanted} } @due;
    if (my @deaf = grep { !$_->{router} && $now - ($_->{greeted} // 0) > 0.3 } values %nets) {
        for (@deaf) { greet($_); $_->{greeted} = $now }
    }
    for (grep { $now - ($_->{sent} // 0) > 0.5 && ($_->{times} // 0) < ($_->{wanted} ? 9 : 2) } @due) {
        try_it($_);
        $_->{sent} = $sent = $now;
        $_->{times}++;
    }
    my @all = ((map { [$_->{wire}, $_] } values %nets), map { [$_] } grep { $_ } values %outs);
    my $waiting = '';
    vec($waiting, fileno $_->[0], 1) = 1 for @all;
    $quiet = select($waiting, undef, undef, 0.1) <= 0;
    next if $quiet;
    for my $one (grep { vec $waiting, fileno $_->[0], 1 } @all) {
        my ($wire, $net) = @$one;
        my $from = recv $wire, my $frame, 2048, 0;
        next unless defined $from && length $frame >= 14;
        # PACKET_OUTGOING is 4: what we have sent ourselves is seen too.
        my $outgoing = unpack('C', substr $from, 10, 1) == 4;
        if ($net) { heard($net, $frame) unless $outgoing; next }
        next unless $outgoing && length $frame >= 36;
        my $try = number_of(substr $frame, 4 * (ord($frame) & 15));
        found($try) if $try && $try->{kind} eq 'out';
    }
}
report('silent', $_->{name}) for grep { !$_->{router} } values %nets;
