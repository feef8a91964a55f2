# A place in a network of OVN for one caller's door: a port of the network's switch, for one worker alone,
# for as long as the caller stays. It stands behind attend.pl, where OVN's central is; its arguments are
# the network, that worker's end of the tunnels, and addresses to choose from.
#
# The caller is told `ok ADDRESS MAC PORT`, or `no` and why. Two who choose at once do not get the same
# address: a port's name is made of it, and OVN has no two ports of one name.
my ($network, $end, $choice) = @ARGV;
my @nbctl = ('ovn-nbctl', '--timeout=10');
my $caller = attend();
my $port = '';

sub no_seat { my $why = shift; $why =~ s/\n.*//s; say_to($caller, "no $why"); _exit(0) }

# What a command prints, line by line; nothing where it fails.
sub lines_of {
    open my $out, '-|', @_ or return ();
    chomp(my @lines = grep { /\S/ } <$out>);
    return close $out ? @lines : ();
}

sub words_of { return lines_of(@nbctl, '--bare', '--no-headings', @_) }

# Places whose keeper was killed: nobody else takes them away. Two lines for each: the name, and its marks.
my $name = '';
for my $line (words_of('--columns=name,external_ids', 'find', 'Logical_Switch_Port', 'external_ids:vmops-door!=""')) {
    if ($line !~ /vmops-door="?(\d+)/) { $name = $line; next }
    my $keeper = '';
    if (open my $file, '<', "/proc/$1/comm") { $keeper = <$file> // '' }
    system(@nbctl, '--if-exists', 'lsp-del', $name) if $name && $keeper ne "perl\n";
    $name = '';
}

my ($switch) = words_of('--columns=_uuid', 'find', 'Logical_Switch',
    "external_ids:vmops-net=\"$network\"", 'external_ids:vmops-part=switch')
    or no_seat("OVN has no network $network: fab net.up makes it");
my ($chassis) = lines_of('ovn-sbctl', '--timeout=10', '--bare', '--no-headings', '--columns=chassis_name',
    'find', 'Encap', "ip=\"$end\"") or no_seat("OVN does not know the worker at $end: fab ovn.setup");
my %taken = map { $_ => 1 } map { split } words_of('--columns=name', 'find', 'Logical_Switch_Port',
    'external_ids:vmops-door!=""');
# A VM of another hosts.toml, or a port that somebody has made by hand, may have an address that is free by this one.
my @there = map { split } words_of('--columns=ports', 'list', 'Logical_Switch', $switch);
my %used = map { $_ => 1 } map { split } @there ? words_of('--columns=addresses', 'list', 'Logical_Switch_Port', @there) : ();

my $ended = 0;
$SIG{TERM} = $SIG{INT} = sub { $ended = 1 };
for my $address (split /,/, $choice) {
    my $mac = join ':', '0a', '58', unpack '(H2)*', inet_aton($address);
    my $wanted = "vmops.door.$network.$address";
    next if $taken{$wanted} || $used{$address};
    next if system @nbctl, '--', '--id=@p', 'create', 'Logical_Switch_Port', "name=\"$wanted\"",
        "addresses=\"$mac $address\"", "port_security=\"$mac $address\"",
        "options:requested-chassis=\"$chassis\"", "external_ids:vmops-door=$$",
        '--', 'add', 'Logical_Switch', $switch, 'ports', '@p';
    $port = $wanted;
    say_to($caller, "ok $address $mac $port");
    last;
}
no_seat("every address that was tried is taken in network $network") if !$port;
until ($ended) { last if !sysread $caller, my $more, 64 }
system(@nbctl, '--if-exists', 'lsp-del', $port) == 0 || system(@nbctl, '--if-exists', 'lsp-del', $port);
_exit(0);
