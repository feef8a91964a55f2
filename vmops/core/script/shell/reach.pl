# What the ssh of another worker reaches: a stream of the QEMU that waits here, by the word that it
# gives, and nothing else. Arguments: the VM's run directory, and where to say that somebody has come,
# which is what the word `here` is for.
use IO::Socket::UNIX;
use POSIX qw(_exit);
my ($folder, $sign) = @ARGV;
my $word = $ENV{SSH_ORIGINAL_COMMAND} // '';
if ($word eq 'here') {
    open my $teller, '>', $sign or exit 1;
    syswrite $teller, "here\n";
    syswrite STDOUT, "here\n";
    1 while sysread STDIN, my $nothing, 64;
    exit;
}
exit 1 if $word !~ /^(?:nbd|ram)\z/;
my $door = IO::Socket::UNIX->new("$folder/way-$word.sock") or die "$folder/way-$word.sock: $!\n";

# Both ways, a process each. What comes from the other worker may end before the answer does; when
# QEMU has closed its side, there is nobody left to say anything to.
my $mine = $$;
my $process = fork // die "fork: $!\n";
close($process ? STDOUT : STDIN);
my ($in, $out) = $process ? (*STDIN, $door) : ($door, *STDOUT);
while (sysread $in, my $data, 1 << 18) {
    my $at = 0;
    while ($at < length $data) {
        my $sent = syswrite $out, $data, length($data) - $at, $at;
        _exit(0) if !defined $sent;
        $at += $sent;
    }
}
if ($process) {
    shutdown $door, 1;
    waitpid $process, 0;
} else {
    kill 'TERM', $mine;
}
_exit(0);
