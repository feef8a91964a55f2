# Carries what the QEMU of a VM says to sockets in its run directory to whoever comes for it, until
# that one has gone. Arguments: the directory, QEMU's user, the seconds that it waits for a caller,
# those that the caller may be silent for, and how many connections QEMU may make.
#
# The first who comes to way.sock, which is the SSH user's, is told a word for each connection that
# QEMU makes: nbd, or ram. With his next connection he takes that one. Where QEMU makes more than it
# may, he is told `many`, and all of it ends. What he says means nothing but that he is there: over a line that hangs nobody says that he has gone, and QEMU, which would wait
# for him, holds its guest still meanwhile.
use IO::Socket::UNIX;
use POSIX qw(setsid _exit);
my ($folder, $user, $patience, $silence, $streams) = @ARGV;
my @owner = getpwnam($ENV{VMOPS_USER} // 'root');
umask 077;
# In a directory of QEMU's own, as a version before made them, it could put a link in the place of what
# is given away here.
lstat $folder;
-d _ && -O _ or die "$folder is not root's: restart the VM\n";

# Seconds since the worker booted: a clock that nobody sets.
open my $clock, '<', '/proc/uptime';
sub now { sysseek $clock, 0, 0; sysread $clock, my $text, 64; return $text + 0 }

sub listening {
    my ($name, $owner) = @_;
    my $path = "$folder/$name.sock";
    unlink $path;
    my $door = IO::Socket::UNIX->new(Local => $path, Listen => 16) or die "$path: $!\n";
    # Where the directory is QEMU's to write in, a link may stand there by now.
    lstat $path && -S _ or die "$path is no socket\n";
    chown $owner, -1, $path or die "$path: $!\n";
    return $door;
}

my %doors = ('way' => listening('way', $owner[2] // 0));
$doors{$_} = listening("way-$_", $user) for 'nbd', 'ram';
my $place = "$folder/way";
# Root removes nothing behind what QEMU may have put there, a link say. What is not QEMU's it cannot
# put another thing in place of.
sub clear {
    return if !lstat $place || !-d _ || (lstat _)[4] !~ /^(?:$>|$owner[2])\z/;
    unlink glob "$place/*";
    rmdir $place;
}
clear();
# Where something else stands by that name, only he has no place.
chown $owner[2] // 0, -1, $place if mkdir $place, 0700;
my $started = fork;
die "fork: $!\n" unless defined $started;
_exit(0) if $started;
setsid();
for my $stream (*STDIN, *STDOUT, *STDERR) { open $stream, '+<', '/dev/null' }
my %ours = map { (fileno $_ => 1) } values %doors, $clock;
for (3 .. 255) { POSIX::close($_) unless $ours{$_} }
$SIG{CHLD} = $SIG{HUP} = $SIG{PIPE} = 'IGNORE';
my ($operator, @waiting);
my $until = now() + $patience;

SERVE: while (1) {
    my $ready = '';
    vec($ready, fileno $_, 1) = 1 for values %doors, $operator // ();
    my $left = $until - now();
    last if $left <= 0;
    next if 0 > select $ready, undef, undef, $left;
    if ($operator && vec $ready, fileno $operator, 1) {
        last unless sysread $operator, my $word, 64;
        $until = now() + $silence;
    }
    # Before the streams: QEMU may have come at the same moment, and he is to be told.
    if (vec $ready, fileno $doors{way}, 1) {
        my $far = $doors{way}->accept or next;
        if (!$operator) { ($operator, $until) = ($far, now() + $silence) }
        elsif (my $near = shift @waiting) { carry($near, $far) }
    }
    for my $stream ('nbd', 'ram') {
        next unless vec $ready, fileno $doors{$stream}, 1;
        my $near = $doors{$stream}->accept or next;
        if (!$streams--) {
            syswrite $operator, "many\n" if $operator;
            last SERVE;
        }
        push @waiting, $near;
        syswrite $operator, "$stream\n" if $operator;
    }
}
unlink map { "$folder/$_.sock" } 'way', 'way-nbd', 'way-ram';
clear();
$SIG{TERM} = 'IGNORE';
kill 'TERM', -$$;
_exit(0);

# Both ways, a process each: what one end says no more is said to the other.
sub carry {
    my ($near, $far) = @_;
    for my $pair ([$near, $far], [$far, $near]) {
        my ($in, $out) = @$pair;
        my $process = fork;
        next if !defined $process || $process;
        close $_ for values %doors, $operator;
        while (sysread $in, my $data, 1 << 18) {
            my $at = 0;
            while ($at < length $data) {
                my $sent = syswrite $out, $data, length($data) - $at, $at;
                shutdown($_, 2) for defined $sent ? () : ($in, $out);
                _exit(0) unless defined $sent;
                $at += $sent;
            }
        }
        shutdown $out, 1;
        _exit(0);
    }
}
