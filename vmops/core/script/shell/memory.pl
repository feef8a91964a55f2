# Carries a VM's memory between its QEMU and a file, through a socket in its run directory.
#
#     take SOCKET UID SECONDS    make the socket for that user, and print what comes through it
#     give SOCKET                send standard input to whoever listens there
#
# A QEMU that has dropped its rights may neither open nor make a file of the SSH user's.
my ($how, $path, $user, $seconds) = @ARGV;
$SIG{PIPE} = 'IGNORE';
my $PATIENCE_S = 20;

sub fail { print STDERR "$path: $_[0]\n"; exit 1 }

# AF_UNIX, SOCK_STREAM
sub door { socket my $door, 1, 1, 0 or fail($!); return $door }

sub copy {
    my ($from, $to) = @_;
    while (my $got = sysread $from, my $data, 1 << 20) {
        my $at = 0;
        while ($at < $got) { $at += syswrite($to, $data, $got - $at, $at) || fail($!) }
    }
}

if ($how eq 'take') {
    # In a directory of QEMU's own, as a version before made them, it could put a link in the place of
    # what is given away here.
    lstat $path =~ s{/[^/]*\z}{}r;
    -d _ && -O _ or fail("its directory is not root's: restart the VM");
    unlink $path;
    my $door = door();
    bind $door, pack 'Sa108', 1, $path or fail($!);
    chown $user, $user, $path or fail($!);
    listen $door, 1 or fail($!);
    $SIG{ALRM} = sub { fail('nobody came') };
    alarm $PATIENCE_S;
    accept my $io, $door or fail($!);
    alarm $seconds;
    unlink $path;
    copy($io, *STDOUT);
}
else {
    my $io;
    for (1 .. $PATIENCE_S * 50) {
        # O_PATH | O_NOFOLLOW, as in qmp.pl: QEMU may put a link there.
        if (sysopen my $at, $path, 0x200000 | 0x20000 | 0x8000) {
            $io = door();
            last if connect $io, pack 'Sa108', 1, '/proc/self/fd/' . fileno $at;
            undef $io;
        }
        select undef, undef, undef, 0.02;
    }
    $io or fail('nobody listens there');
    copy(*STDIN, $io);
}
