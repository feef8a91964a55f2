# What the programs have in common through which an image comes to a worker, as the SSH user. It
# stands behind number.pl and before receive.pl or fetch.pl, and takes the first arguments: the
# folder, the file's name there, its sha256.
#
# They say on standard output, a line each:
#
#     waits                  another one is at it; this one waits for it
#     busy                   it has waited long enough
#     there                  the file was there already
#     full FREE NEEDED       there is no room: bytes
#     checks                 all has come; the sum is not made yet
#     done                   it has its name
#     differs SHA256         it is not what was promised, and was removed
#     failed WHY             could not be written
#
# What has come is kept as NAME.part when it ends early, and the next one goes on at its end: it is
# written from its beginning to its end.
use Fcntl ':DEFAULT', ':flock';
my ($folder, $name, $sum) = splice @ARGV, 0, 3;
my ($patience, $piece) = (60, 262144);
$| = 1;
# Whoever asked may vanish while the sum is being made: it is whole all the same.
$SIG{PIPE} = $SIG{HUP} = 'IGNORE';
umask 077;
sub finish { print "@_\n"; leave(0) }

# At its end perl waits for what it has started: for these, until nobody feeds them any more. It
# must not be left by exit alone, which lets go of the wrong one first.
my ($news, $teller, $source);
sub leave {
    close $teller if $teller;
    kill 'KILL', $source if $source;
    exit $_[0];
}

$folder =~ s{^~(?=/|$)}{$ENV{HOME}};
my $made = '';
for my $step (split m{/}, $folder) { $made .= "$step/"; mkdir $made if length $step }
my ($part, $final) = ("$folder/$name.part", "$folder/$name");

# A sender that fell silent is given up after its patience, so this ends.
my $file;
while (1) {
    finish('there') if -e $final;
    sysopen $file, $part, O_RDWR | O_CREAT | O_NOFOLLOW or finish('failed', $!);
    if (!flock $file, LOCK_EX | LOCK_NB) {
        print "waits\n";
        local $SIG{ALRM} = sub { finish('busy') };
        alarm 2 * $patience;
        flock $file, LOCK_EX or finish('failed', $!);
        alarm 0;
    }
    my @mine = stat $file;
    my @named = stat $part;
    last if "@mine[0, 1]" eq "@named[0, 1]" && !-e $final;
}

my ($at, $used) = ((stat $file)[7], 512 * (stat $file)[12]);
sub free_bytes {
    open my $df, '-|', 'df', '-Pk', '--', $folder;
    return 1024 * (split ' ', (<$df>)[1] // '0 0 0 0')[3];
}
my $sums;
sub begin {
    pipe $news, $teller or finish('failed', $!);
    $sums = follow();
    close $news;
    good_until($at);
}

sub conclude {
    my $size = $_[0];
    alarm 0;
    truncate $file, $size or fail();
    good_until($size);
    close $teller;
    print "checks\n";
    # While the sum is being made. The name must not outlive a power cut that the content does not.
    # Perl loads IO::File for this by itself, and it is not waited for at the beginning.
    $file->sync or fail();
    my ($found) = (<$sums> // '') =~ /([0-9a-f]{64})/ or fail();
    if ($found ne $sum) {
        unlink $part;
        finish('differs', $found);
    }
    chmod 0400, $part;
    rename $part, $final or fail();
    finish('done');
}

sub write_at {
    my ($offset, $bytes) = @_;
    sysseek $file, $offset, 0;
    my $written = 0;
    while ($written < length $bytes) {
        $written += syswrite($file, $bytes, length($bytes) - $written, $written) || fail();
    }
}
sub fail {
    my $why = "$!";
    unlink $part;
    finish('failed', $why);
}
sub program { my $name = shift; return grep -x "$_/$name", split /:/, $ENV{PATH} }

# What is there is told to the sum, and is written to the disk while more comes, so that little of it
# is left to be waited for at the end. 2 is SYNC_FILE_RANGE_WRITE, which only begins it.
my ($write_back, $written, $worth_it) = (number(277, 84), 0, 8 << 20);
sub good_until {
    my $until = $_[0];
    syswrite $teller, pack 'Q>', $until;
    return if !$write_back || $until - $written < $worth_it;
    undef $write_back if 0 > syscall $write_back, fileno $file, $written, $until - $written, 2;
    $written = $until;
}

# From a pipe to a file or the other way, without a copy in this program. Gives the bytes, at least
# one; 0 at the end; -1 where it cannot be done. Perl has no word for it.
my ($splice, $tee) = (number(275, 76), number(276, 77));
sub passed {
    my ($from, $to, $many, $flags) = @_;
    return -1 if !$splice;
    return syscall $splice, fileno $from, 0, fileno $to, 0, $many, $flags;
}

# The sum is made of what is in the file, while more comes. Holes are not read: that would fill the
# worker's memory with zeros. openssl is several times faster where the processor knows SHA.
sub follow {
    my $child = open my $sums, '-|';
    return $sums if $child;
    exit 1 if !defined $child;
    close $teller;
    my @tool = program('openssl') ? qw(openssl dgst -sha256 -r) : qw(sha256sum);
    open my $mine, '<', $part or exit 1;
    open my $feed, '|-', @tool or exit 1;
    fcntl $feed, 1031, 1 << 20; # F_SETPIPE_SZ
    my $from = 0;
    while (sysread $news, my $word, 8) {
        my $until = unpack 'Q>', $word;
        while ($from < $until) {
            # 3 is SEEK_DATA, which fails with ENXIO (6) where only a hole follows; 4 is SEEK_HOLE.
            my $data = sysseek($mine, $from, 3) // ($! == 6 ? $until : $from);
            $data = $until if $data > $until;
            put_zeros($feed, $data - $from);
            last if ($from = $data + 0) >= $until;
            my $hole = sysseek($mine, $from, 4) || $until;
            $hole = $until if $hole > $until;
            sysseek $mine, $from, 0;
            $from += put_data($feed, $mine, $hole - $from) || exit 1 while $from < $hole;
        }
    }
    close $feed;
    exit;
}

# 2 is SPLICE_F_NONBLOCK. To wait for a pipe that is full is to be woken for each page that its reader
# has taken, and would cost both of them half as much again as the sum itself.
sub put_data {
    my ($to, $from, $many) = @_;
    while ($splice) {
        my $passed = passed($from, $to, $many, 2);
        return $passed if $passed >= 0;
        if ($!{EAGAIN}) { nap() }
        else { undef $splice }
    }
    $many = sysread($from, my $bytes, $many < $piece ? $many : $piece) or return 0;
    put($to, $bytes);
    return $many;
}
my ($zeros, $keeps_zeros);
sub put_zeros {
    my ($to, $many) = @_;
    zeros_to_lend() if $tee && !$zeros;
    while ($tee && $many) {
        my $lent = syscall $tee, fileno $zeros, fileno $to, $many, 2;
        if ($lent > 0) { $many -= $lent }
        elsif ($!{EAGAIN}) { nap() }
        else { undef $tee }
    }
    for (my $none = "\0" x $piece; $many; $many -= length $none) {
        $none = substr $none, 0, $many if length $none > $many;
        put($to, $none);
    }
}
# A pipe that is full of zeros and stays so. 1032 is F_GETPIPE_SZ.
sub zeros_to_lend {
    pipe $zeros, $keeps_zeros or exit 1;
    syswrite $keeps_zeros, "\0" x fcntl $keeps_zeros, 1032, 0;
}
sub nap { select undef, undef, undef, 0.0003 }
sub put {
    my ($to, $bytes) = @_;
    my $done = 0;
    while ($done < length $bytes) {
        $done += syswrite($to, $bytes, length($bytes) - $done, $done) || exit 1;
    }
}
