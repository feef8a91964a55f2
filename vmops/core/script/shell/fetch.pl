# Fetches an image by curl or wget. It stands behind arrival.pl.
#
# Further argument: the bytes that have to stay free. Standard input: the address, which stands in no
# argument that others could read. Beside the lines of arrival.pl it says:
#
#     at OFFSET curl|wget    begins there
#     got OFFSET TOTAL       has come so far; 0 is that nothing tells how much it will be
#     lacks                  there is neither curl nor wget
#     again                  it cannot be had in parts: nothing of it is here any more
#     source WHY             it could not be fetched; what has come is kept
#
# What it starts ends with it, and it ends when nobody hears it any more.
use IO::Select;
my ($keeps) = @ARGV;
my $url = <STDIN> // '';
chomp $url;
my ($tool) = grep { program($_) } qw(curl wget);
finish('lacks') if !$tool;
my %argv = (
    curl => [qw(curl -q -gfsSL --max-redirs 5 --connect-timeout 30 -D /dev/fd/2 -K - -C), $at,
        '--proto', '=http,https', '--proto-redir', '=http,https'],
    # It would follow a redirection on a connection that the server is just closing.
    wget => [qw(wget --no-config --no-http-keep-alive -nv -S --tries=1 --timeout=60),
        qw(--max-redirect=5 -O - -i -), "--start-pos=$at"],
);
my $asked = $url;
if ($tool eq 'curl') {
    $asked =~ s/(["\\])/\\$1/g;
    $asked = "url = \"$asked\"";
}
print "at $at $tool\n";

my ($begun, $total, $said, $told, $checked) = ($at, 0, '', 0, 0);
my ($words, $puts_words, $bytes, $puts_bytes, $reads_address, $address);
pipe $words, $puts_words or finish('failed', $!);
pipe $bytes, $puts_bytes or finish('failed', $!);
pipe $reads_address, $address or finish('failed', $!);
$source = fork // finish('failed', $!);
if (!$source) {
    open STDIN, '<&', $reads_address;
    open STDOUT, '>&', $puts_bytes;
    open STDERR, '>&', $puts_words;
    close $address;
    $SIG{PIPE} = 'DEFAULT';
    exec @{ $argv{$tool} } or exit 127;
}
close $_ for $puts_words, $puts_bytes, $reads_address;
syswrite $address, "$asked\n";
close $address;
begin();

my $ready = IO::Select->new($bytes, $words);
my ($kept, $heard) = ('', time);
while ($ready->count) {
    for my $from ($ready->can_read(1)) {
        $heard = time;
        my $new;
        if (!sysread $from, $new, $piece) { $ready->remove($from); next }
        if ($from == $words) { listen_to($new); next }
        $kept .= $new;
        keep($piece) if length $kept >= $piece;
    }
    failed("nothing has come for $patience s") if time - $heard > $patience;
    report() if time != $told;
}
keep(1);
waitpid $source, 0;
my $code = $? >> 8 || $? & 127;
undef $source;
print "got $at $total\n";
# Whoever has all of it already may be told that there is no such part: the sum decides.
conclude($at) if !$code || $begun && $at == $begun && $code == ($tool eq 'curl' ? 22 : 8);
if ($code == 33 && $tool eq 'curl') { truncate $file, 0; finish('again') }
my @why = $tool eq 'curl' ? $said =~ /^curl: (.+)$/mg : $said =~ /^(\S.*)$/mg;
failed($why[-1] // "$tool ended with $code");

sub failed {
    unlink $part if !$at;
    finish('source', @_);
}

# The last kilobytes are kept, for what it says when it fails.
sub listen_to {
    $said = substr $said . $_[0], -8192;
    $total = $begun + $1 if $said =~ m{.*^\s*Content-Length: (\d+)}msi;
    $total = $1 if $said =~ m{.*^\s*Content-Range: bytes \d+-\d+/(\d+)}msi;
}

sub report {
    $told = time;
    print "got $at $total\n" or leave(1);
    return if $at - $checked < 1 << 26 && $checked;
    $checked = $at || 1;
    my ($free, $needed) = (free_bytes(), $total > $at ? $total - $at : 0);
    finish('full', $free, $needed + $keeps) if $free < $needed || $free < $keeps;
}

# Zeros are not written where they fill a piece.
sub keep {
    while (length $kept >= $_[0]) {
        my $slice = substr $kept, 0, 65536 - $at % 65536, '';
        write_at($at, $slice) if $slice =~ tr/\0//c;
        $at += length $slice;
    }
    good_until($at);
}
