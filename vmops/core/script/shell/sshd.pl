# An sshd for one meeting of two workers: it lets in who has one key, and runs one command. It stands
# behind once.pl, and before a program that defines `finish` and `leave`. What that says of it:
#
#     lacks WHAT                    it cannot be done here
#     listens ADDRESS PORT USER     until somebody has come who may, or half a minute is over
#     nobody                        nobody came
use IO::Select;
use Socket qw(:DEFAULT :addrinfo);
my ($waits, $most_callers) = (30, 16);
my ($mine, @callers) = $$;
# An sshd that has let somebody in hands this on to what it has started.
END { kill 'TERM', @callers if @callers && $$ == $mine }

# Meets callers until one of them, who has been let in, says something into `$sign`. Arguments: that,
# where keys may be kept, the command, the sessions that one caller may have.
sub meet {
    my ($sign, $folder, $takes, $sessions) = @_;
    my ($sshd) = grep { -x } qw(/usr/sbin/sshd /usr/local/sbin/sshd) or finish('lacks', 'sshd');
    my ($host_key, $allowed) = (kept($folder), kept($folder));
    finish('lacks', 'keys') if !$host_key || !$allowed;
    my $address = own_address() // finish('lacks', 'address');
    my ($door, $port) = listen_at($address);
    my @sshd = ($sshd, '-i', '-e', '-f', '/dev/null', map { ('-o', $_) }
        "HostKey=$host_key", "AuthorizedKeysFile=$allowed", "ForceCommand=$takes",
        # As root it asks PAM, or a root without a password would be locked out.
        'UsePAM=' . ($> ? 'no' : 'yes'), "MaxSessions=$sessions",
        qw(AuthenticationMethods=publickey StrictModes=no DisableForwarding=yes PermitTTY=no),
        qw(PermitUserRC=no PermitUserEnvironment=no PermitRootLogin=prohibit-password),
        qw(PrintMotd=no PrintLastLog=no PidFile=none UseDNS=no LoginGraceTime=20));
    print "listens $address $port ", scalar(getpwuid $>), "\n";

    my $ready = IO::Select->new($door, $sign, \*STDIN);
    my $until = time + $waits;
    while (1) {
        my @those = $ready->can_read($until > time ? $until - time : 0) or finish('nobody');
        last if grep { $_ == $sign } @those;
        leave(1) if grep { $_ == \*STDIN } @those;
        accept my $caller, $door or next;
        my $pid = fork // next;
        if (!$pid) {
            $SIG{PIPE} = $SIG{HUP} = 'DEFAULT';
            open STDIN, '<&', $caller;
            open STDOUT, '>&', $caller;
            open STDERR, '>', '/dev/null';
            exec @sshd or exit 127;
        }
        push @callers, $pid;
        $ready->remove($door) if @callers == $most_callers;
    }
    close $door;
}

# Where the SSH connection of whoever asks has come in: other workers most likely reach that as well.
# It is of no use where it came through a forward; what a packet to the world would have as its
# source is the next best. None is sent.
sub own_address {
    my $came = (split ' ', $ENV{SSH_CONNECTION} // '')[2] // '127.0.0.1';
    $came =~ s/^::ffff://;
    return $came if $came !~ /^127\.|^::1$/;
    socket my $any, AF_INET, SOCK_DGRAM, 0 or return;
    connect $any, pack_sockaddr_in(9, inet_aton('192.0.2.1')) or return;
    return inet_ntoa((unpack_sockaddr_in(getsockname $any))[1]);
}

sub listen_at {
    my ($error, $at) = getaddrinfo($_[0], 0, { flags => AI_NUMERICHOST, socktype => SOCK_STREAM });
    finish('lacks', 'address') if $error;
    socket my $door, $at->{family}, SOCK_STREAM, 0 or finish('failed', $!);
    bind $door, $at->{addr} or finish('failed', $!);
    listen $door, 8 or finish('failed', $!);
    my ($none, undef, $port) = getnameinfo(getsockname $door, NI_NUMERICHOST | NI_NUMERICSERV);
    return ($door, $port);
}
