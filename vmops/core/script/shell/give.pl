# Gives an image that is here to another worker, by an ssh of this one transfer. It stands behind
# once.pl and ssh.pl, and takes as arguments: the folder, the file's name there, the other's address,
# port and user, the offset to begin at. It says on standard output, a line each:
#
#     lacks WHAT             it cannot be done here
#     sent OFFSET BYTES      so far, and so many went over the line
#     given BYTES            all of it
#     failed WHY             it could not be given
#
# It ends when nobody hears it any more, and its ssh with it. The stream is what
# core/images/stream.py describes; no zeros were written here, so there are holes to leave out.
use IO::Select;
my ($folder, $name, $address, $port, $user, $at) = @ARGV;
my ($patience, $piece, $sent, $told, $said, $pid) = (60, 262144, 0, 0, '');
$| = 1;
$SIG{PIPE} = $SIG{HUP} = 'IGNORE';
sub finish { kill 'KILL', $pid if $pid; print "@_\n"; exit }

$folder =~ s{^~(?=/|$)}{$ENV{HOME}};
sysopen my $file, "$folder/$name", O_RDONLY | O_NOFOLLOW or finish('lacks', 'image');
my $size = -s $file;
my @ssh = our_ssh($folder, $port, $user);

pipe my $from, my $to or finish('failed', $!);
pipe my $words, my $puts_words or finish('failed', $!);
$pid = fork // finish('failed', $!);
if (!$pid) {
    open STDIN, '<&', $from;
    open STDOUT, '>', '/dev/null';
    open STDERR, '>&', $puts_words;
    $SIG{PIPE} = 'DEFAULT';
    exec @ssh, qw(-o ControlPath=none -o ServerAliveInterval=15 --), $address, 'image' or exit 127;
}
close $_ for $from, $puts_words;
fcntl $to, F_SETFL, O_NONBLOCK;
my $hears = IO::Select->new($words, \*STDIN);
my $takes = IO::Select->new($to);

while ($at < $size) {
    # 3 is SEEK_DATA, which fails with ENXIO (6) where only a hole follows; 4 is SEEK_HOLE.
    my $data = sysseek($file, $at, 3) // ($! == 6 ? last : $at);
    my $hole = sysseek($file, $data, 4) || $size;
    for ($at = $data; $at < $hole; ) {
        my $many = $hole - $at < $piece ? $hole - $at : $piece;
        sysseek $file, $at, 0;
        $many = sysread $file, my $bytes, $many or finish('failed', "it cannot be read: $!");
        put(pack('Q>Q>', $at, $many) . $bytes);
        $at += $many;
        next if time == $told;
        $told = time;
        print "sent $at $sent\n";
    }
}
put(pack 'Q>Q>', $size, ~0);
close $to;
1 while !hear($patience, 'ssh does not end');
waitpid $pid, 0;
my $code = $?;
undef $pid;
failed() if $code;
print "given $sent\n";

sub put {
    my ($bytes) = @_;
    while (length $bytes) {
        my ($can_hear, $can_take) = IO::Select::select($hears, $takes, undef, $patience);
        finish('failed', "no data was taken for $patience s") if !$can_hear;
        hear(0) if @$can_hear;
        next if !@$can_take;
        my $many = syswrite $to, $bytes;
        $many //= $!{EAGAIN} ? 0 : failed();
        substr $bytes, 0, $many, '';
        $sent += $many;
    }
}

# What ssh says, the last kilobytes of it, and whether it has ended. Whoever asked may have gone.
sub hear {
    my @those = $hears->can_read($_[0]);
    finish('failed', $_[1]) if !@those && $_[1];
    for my $one (@those) {
        finish('failed', 'nobody hears it') if $one == \*STDIN;
        my $more = '';
        return 1 if !sysread $one, $more, 4096;
        $said .= $more;
        $said = substr $said, -8192 if length $said > 8192;
    }
    return !@those;
}

sub failed {
    1 while !hear(5);
    my @lines = grep { /\S/ } split /\r?\n/, $said;
    finish('failed', $lines[-1] // 'ssh ended without a word');
}
