# What the programs have in common through which an image comes to a worker, as the SSH user. It
# stands before receive.pl or fetch.pl, and takes the first arguments: the folder, the file's name
# there, its sha256.
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
use IO::Handle;
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
    my ($found) = (<$sums> // '') =~ /([0-9a-f]{64})/ or fail();
    if ($found ne $sum) {
        unlink $part;
        finish('differs', $found);
    }
    # The name must not outlive a power cut that the content does not.
    $file->sync or fail();
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
sub good_until { syswrite $teller, pack 'Q>', $_[0] }

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
    my ($from, $no_data) = (0, "\0" x $piece);
    my $zeros = $no_data;
    while (sysread $news, my $word, 8) {
        my $until = unpack 'Q>', $word;
        while ($from < $until) {
            # 3 is SEEK_DATA, which fails with ENXIO (6) where only a hole follows; 4 is SEEK_HOLE.
            my $data = sysseek($mine, $from, 3) // ($! == 6 ? $until : $from);
            $data = $until if $data > $until;
            for (; $from < $data; $from += length $zeros) {
                $zeros = substr $zeros, 0, $data - $from if length $zeros > $data - $from;
                put($feed, $zeros);
            }
            $zeros = $no_data;
            last if $from >= $until;
            my $hole = sysseek($mine, $from, 4) || $until;
            $hole = $until if $hole > $until;
            sysseek $mine, $from, 0;
            while ($from < $hole) {
                my $many = $hole - $from < $piece ? $hole - $from : $piece;
                $from += sysread($mine, my $bytes, $many) || exit 1;
                put($feed, $bytes);
            }
        }
    }
    close $feed;
    exit;
}
sub put {
    my ($to, $bytes) = @_;
    my $done = 0;
    while ($done < length $bytes) {
        $done += syswrite($to, $bytes, length($bytes) - $done, $done) || exit 1;
    }
}
