# Echoes from the network namespace in which it runs to each of these addresses, three at most to each;
# a line `reply ADDRESS` for each that answers.
use Socket;
my %left = map { ($_, inet_aton($_)) } @ARGV;
socket my $wire, 2, 3, 1 or die "no socket for echoes: $!\n";
sub sum {
    my $total = 0;
    $total += $_ for unpack 'n*', $_[0];
    $total = ($total >> 16) + ($total & 0xffff) for 1, 2;
    return ~$total & 0xffff;
}
sub now { open my $file, '<', '/proc/uptime' or return time; return (split ' ', <$file>)[0] }

for my $turn (1 .. 3) {
    last unless %left;
    my $body = pack 'n n a48', $$ & 0xffff, $turn, 'vmops';
    my $echo = pack('C C n', 8, 0, sum(pack('C C n', 8, 0, 0) . $body)) . $body;
    send $wire, $echo, 0, pack_sockaddr_in(0, $_) for values %left;
    my $until = now() + 0.7;
    while (%left && (my $rest = $until - now()) > 0) {
        my $waiting = '';
        vec($waiting, fileno $wire, 1) = 1;
        last unless select $waiting, undef, undef, $rest;
        recv $wire, my $packet, 2048, 0;
        my $header = 4 * (ord($packet) & 15);
        next if length $packet < $header + 8;
        my ($type, undef, undef, $id) = unpack 'C C n n', substr $packet, $header;
        next unless $type == 0 && $id == ($$ & 0xffff);
        my $from = inet_ntoa(substr $packet, 12, 4);
        print "reply $from\n" if delete $left{$from};
    }
}
