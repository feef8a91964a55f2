# Carries what the QEMU of a VM says at the worker that it leaves to the one that waits on another
# worker, by an ssh of this one move: a connection, and a session of it for each stream. It stands behind
# once.pl and ssh.pl. Arguments: the folder of images, the VM's run directory, the other's address, port
# and user.
#
# It is the one who comes to the sockets of way.pl, and passes on to that what it hears here: that
# whoever asks for it is there. It says on standard output, a line each:
#
#     lacks WHAT             it cannot be done here
#     here                   the other worker is reached
#     failed WHY             it is not, or no more
#
# It ends when nobody hears it any more, and its ssh with it.
use Fcntl;
use IO::Select;
use IO::Socket::UNIX;
my ($folder, $run, $address, $port, $user) = @ARGV;
my ($patience, $said, $heard, $pid) = (30, '', '');
my $mine = $$;
$| = 1;
$SIG{PIPE} = $SIG{HUP} = 'IGNORE';
sub finish { print "@_\n"; exit }
END { kill 'TERM', $pid if $pid && $$ == $mine }

$folder =~ s{^~(?=/|$)}{$ENV{HOME}};
my @ssh = our_ssh($folder, $port, $user);
# Its socket has a short name: the path of one has an end. What stands there may be QEMU's, whose
# directory to write in that is, or a link of its.
lstat "$run/way" && -d _ && -O _ && chdir "$run/way" or finish('lacks', 'place');
my $way;
my $many = 'QEMU there makes more connections than a move takes';
# What was said before it ended is why.
sub come {
    my $near = IO::Socket::UNIX->new("$run/way.sock");
    return $near if $near;
    my $why = "way.sock: $!";
    while ($way && IO::Select->new($way)->can_read(5)) {
        sysread $way, my $data, 4096 or last;
        $why = $many if $data =~ /^many$/m;
    }
    finish('failed', $why);
}

pipe my $from, my $to or finish('failed', $!);
pipe my $words, my $puts_words or finish('failed', $!);
pipe my $answer, my $answers or finish('failed', $!);
$pid = fork // finish('failed', $!);
if (!$pid) {
    open STDIN, '<&', $from;
    open STDOUT, '>&', $answers;
    open STDERR, '>&', $puts_words;
    $SIG{PIPE} = 'DEFAULT';
    # A path that hangs must not hold a guest still for longer than whoever asks may be silent.
    my @more = qw(ControlMaster=yes ControlPath=./ssh ServerAliveInterval=5 ServerAliveCountMax=3);
    exec @ssh, (map { ('-o', $_) } @more), '--', $address, 'here' or exit 127;
}
close $_ for $from, $puts_words, $answers;
my $hears = IO::Select->new($words, $answer, \*STDIN);
while (1) {
    my @those = $hears->can_read($way ? undef : $patience)
        or finish('failed', "no answer within $patience s");
    for my $one (@those) {
        my $got = sysread $one, my $data, 4096;
        if ($one == $words) {
            $said = substr $said . $data, -8192 if $got;
            $hears->remove($words) if !$got;
        } elsif ($one == \*STDIN) {
            exit if !$got;
            syswrite $way, "\n" if $way;
        } elsif ($one == $answer) {
            failed() if !$got;
            next if $way;
            # A shell there that greets whoever comes would greet QEMU in each stream.
            $heard .= $data;
            next if $heard ne "here\n" && index("here\n", $heard) == 0;
            finish('failed', 'its login shell says more than it is asked') if $heard ne "here\n";
            $way = come();
            $hears->add($way);
            print "here\n";
        } else {
            finish('failed', 'way.sock has ended') if !$got;
            finish('failed', $many) if $data =~ /^many$/m;
            stream($_) for grep { /^(?:nbd|ram)$/ } split /\n/, $data;
        }
    }
}

# A process each, which has QEMU's connection for its own input and output.
sub stream {
    my ($name) = @_;
    my $near = come();
    my $process = fork // finish('failed', $!);
    return if $process;
    open STDIN, '<&', $near;
    open STDOUT, '>&', $near;
    open STDERR, '>', '/dev/null';
    $SIG{PIPE} = 'DEFAULT';
    # Without that connection it would make one of its own.
    my @more = qw(ControlMaster=no ControlPath=./ssh ProxyCommand=false LogLevel=QUIET);
    exec $ssh[0], qw(-F /dev/null -T), (map { ('-o', $_) } @more), '--', $address, $name or exit 127;
}

sub failed {
    my $rest = IO::Select->new($words);
    while ($rest->can_read(5)) {
        sysread $words, my $more, 4096 or last;
        $said .= $more;
    }
    my @lines = grep { /\S/ } split /\r?\n/, $said;
    finish('failed', $lines[-1] // 'ssh ended without a word');
}
