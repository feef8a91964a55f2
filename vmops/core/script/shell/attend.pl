# What programs have in common that serve one caller through a socket, and end with him. It stands
# before capture.pl or door.pl, and takes the first arguments: the socket's path, and for how many
# seconds a caller is waited for.
#
# The socket is the SSH user's, through whom the operator comes: sshd closes it when he is gone, however
# that happened.
use IO::Socket::UNIX;
use Socket;
use POSIX qw(:sys_wait_h setsid dup2 _exit);
my ($path, $patience) = splice @ARGV, 0, 2;

# Gives the caller; to whoever started us it says that somebody listens, by our end there. Nothing of
# this is in anybody's way afterwards: not the terminal, nor the streams of the root shell.
sub attend {
    my @user = getpwnam($ENV{VMOPS_USER} // 'root');
    umask 077;
    # Sockets of those who were killed before their caller came.
    my ($folder, $old) = ($path =~ s{/[^/]*$}{}r, time - $patience - 60);
    if (opendir my $listed, $folder) {
        for my $left (map { "$folder/$_" } grep { /^\.call\./ } readdir $listed) {
            my @was = lstat $left;
            unlink $left if @was && -S _ && $was[9] < $old;
        }
    }
    my $listening = IO::Socket::UNIX->new(Local => $path, Listen => 1) or die "$path: $!\n";
    chown $user[2] // 0, -1, $path;
    my $started = fork;
    die "fork: $!\n" unless defined $started;
    _exit(0) if $started;
    setsid();
    for my $stream (*STDIN, *STDOUT, *STDERR) { open $stream, '+<', '/dev/null' }
    for (3 .. 255) { POSIX::close($_) if $_ != fileno $listening }
    $SIG{PIPE} = 'IGNORE';
    $SIG{HUP} = 'DEFAULT';
    my $waiting = '';
    vec($waiting, fileno($listening), 1) = 1;
    my $caller = select($waiting, undef, undef, $patience) > 0 ? $listening->accept : undef;
    unlink $path;
    _exit(0) unless $caller;
    close $listening;
    return $caller;
}

# Tells the caller a line, and whether he was there to hear it.
sub say_to { my ($caller, $line) = @_; return defined syswrite $caller, "$line\n" }

# Ends a process and what it has started, gently first.
sub finish {
    my $process = shift;
    for my $signal ('TERM', 'KILL') {
        kill $signal, -$process;
        for (1 .. 20) {
            return if waitpid($process, WNOHANG);
            select undef, undef, undef, 0.05;
        }
    }
}

# Starts what is to run in a process group of its own, with these streams.
sub start {
    my ($in, $out, $err, $body) = @_;
    my $process = fork;
    _exit(1) unless defined $process;
    if ($process) { setpgrp $process, $process; return $process }
    setpgrp 0, 0;
    $SIG{$_} = 'DEFAULT' for 'PIPE', 'HUP', 'TERM';
    dup2(fileno $in, 0);
    dup2(fileno $out, 1);
    dup2(fileno $err, 2);
    for (3 .. 255) { POSIX::close($_) }
    $body->();
    _exit(0);
}
