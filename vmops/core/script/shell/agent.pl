# Carries lines between vmops and the guest agents of VMs, all of them at once.
#
# Arguments: the folder of the run directories, and the most bytes that all agents together may send. Standard
# input, a line each:
#
#     vm NAME LIMIT LIMIT    a VM, and the seconds until it is known that there is an agent, and
#                            that each answer may take, or 256 KiB of it
#     say JSON               a request to it
#     poll SECONDS KEY JSON  a request that is made again until its answer has no "KEY": false
#                            any more, or the time is up
#     need HEX               a text that the answer before must hold; `lack`: must not
#
# Standard output, when all is over, for each VM a line and then exactly that many bytes, which are
# its answers, a line each; of a poll the last one:
#
#     NAME ENDING HEARD_BYTES
#
# An agent greets nobody. It is asked for a number between a byte that no JSON holds and a newline
# (guest-sync-delimited): whatever comes before that number was said to somebody else.
#
# No module is loaded, as in qmp.pl. The other end is a guest: what it sends is counted and carried,
# never trusted.
my ($root, $most) = @ARGV;
$SIG{PIPE} = 'IGNORE';
my @vms;
while (<STDIN>) {
    chomp;
    my ($what, $rest) = split / /, $_, 2;
    if ($what eq 'vm') {
        my ($name, $first, $limit) = split / /, $rest;
        push @vms, {name => $name, first => $first, limit => $limit, todo => [], heard => '', in => '', out => ''};
    }
    elsif ($what eq 'say') { push @{$vms[-1]{todo}}, [0, '', $rest] }
    elsif ($what =~ /^(need|lack)$/) { push @{$vms[-1]{todo}}, [$what, pack 'H*', $rest] }
    else { push @{$vms[-1]{todo}}, [split / /, $rest, 3] }
}
$most /= @vms || 1;

# Seconds since the worker booted, as in qmp.pl.
open my $clock, '<', '/proc/uptime';
sub now { sysseek $clock, 0, 0; sysread $clock, my $text, 64; return $text + 0 }

sub over { my ($vm, $ending) = @_; $vm->{ending} = $ending; close delete $vm->{io} if $vm->{io} }

# One operator at a time: QEMU serves one client of a socket, and the next would wait for a greeting
# that never comes. The record is root's; nothing else locks it.
sub begin {
    my $vm = shift;
    my $folder = "$root/$vm->{name}";
    if (!$vm->{lock}) {
        sysopen my $record, "$folder/process", 0x20000 | 0x8000 or return over($vm, 'no-vm');
        $vm->{lock} = $record;
        $vm->{end} = now() + $vm->{first};
    }
    # LOCK_EX | LOCK_NB
    return if !flock $vm->{lock}, 6;
    # O_PATH | O_NOFOLLOW, as in qmp.pl: the directory is QEMU's to write in.
    my $path = "$folder/agent.sock";
    sysopen my $at, $path, 0x200000 | 0x20000 | 0x8000 or return over($vm, 'no-port');
    -S $at or return over($vm, 'no-port');
    socket my $io, 1, 1 | 2048, 0;
    connect $io, pack 'Sa108', 1, '/proc/self/fd/' . fileno $at or return over($vm, 'no-port');
    my $number = 1 + int rand 2**30;
    @$vm{qw(io number end)} = ($io, $number, now() + $vm->{first});
    my $arguments = qq({"id": $number});
    $vm->{out} = qq(\xff{"execute": "guest-sync-delimited", "arguments": $arguments}\n);
}

sub ask {
    my $vm = shift;
    my $next = $vm->{todo}[0] or return over($vm, 'whole');
    if ($next->[0] =~ /^(need|lack)$/) {
        shift @{$vm->{todo}};
        return ask($vm) if index($vm->{answer}, $next->[1]) >= 0 xor $1 eq 'lack';
        return over($vm, 'other');
    }
    $vm->{out} = "$next->[2]\n";
    @$vm{qw(new end)} = (0, now() + $vm->{limit});
    $vm->{last} = now() + $next->[0] if !defined $vm->{last};
}

sub line {
    my ($vm, $line) = @_;
    if ($vm->{number}) {
        return if $line !~ /\xff[^\xff]*\b$vm->{number}\b[^\xff]*$/;
        delete $vm->{number};
        return ask($vm);
    }
    my ($seconds, $key) = @{$vm->{todo}[0]};
    if ($seconds && $line =~ /"\Q$key\E": *false/ && now() < $vm->{last}) {
        # The first answers come quickly, as most commands are short.
        $vm->{pause} = ($vm->{pause} || 0.02) * 2;
        $vm->{pause} = 0.5 if $vm->{pause} > 0.5;
        $vm->{again} = now() + $vm->{pause};
        $vm->{end} = $vm->{again} + $vm->{limit};
        return;
    }
    $vm->{answer} = $line;
    $vm->{heard} .= "$line\n";
    shift @{$vm->{todo}};
    delete @$vm{qw(last pause)};
    ask($vm);
}

sub hear {
    my $vm = shift;
    my $got = sysread $vm->{io}, $vm->{in}, 65536, length $vm->{in};
    return if !defined $got && $! == 11;
    return over($vm, 'hung-up') if !$got;
    $vm->{total} += $got;
    return over($vm, 'too-much') if $vm->{total} > $most;
    # A long answer takes its time, as long as it comes.
    if (!$vm->{number} && ($vm->{new} += $got) >= 262144) {
        @$vm{qw(new end)} = (0, now() + $vm->{limit});
    }
    # Looked for in what is new alone: a long line comes in many pieces.
    my $from = length($vm->{in}) - $got;
    while (!$vm->{ending} && (my $stop = index $vm->{in}, "\n", $from) >= 0) {
        my $line = substr $vm->{in}, 0, $stop;
        substr($vm->{in}, 0, $stop + 1) = '';
        $from = 0;
        # What comes where nothing was asked is nobody's answer.
        return over($vm, 'not-qga') if $vm->{again};
        line($vm, $line);
    }
}

while (1) {
    my ($readable, $writable, $pause) = ('', '', 1);
    for my $vm (grep !$_->{ending}, @vms) {
        begin($vm) if !$vm->{io};
        next if $vm->{ending};
        my $now = now();
        if ($vm->{again} && $now >= $vm->{again}) { delete $vm->{again}; ask($vm) }
        if ($now >= $vm->{end}) {
            over($vm, !$vm->{io} ? 'busy' : $vm->{number} ? 'no-agent' : 'silent');
            next;
        }
        $pause = 0.05 if !$vm->{io} || $vm->{again};
        $pause = $vm->{end} - $now if $vm->{end} - $now < $pause;
        next if !$vm->{io};
        vec($readable, fileno $vm->{io}, 1) = 1;
        vec($writable, fileno $vm->{io}, 1) = 1 if $vm->{out} ne '';
    }
    my @open = grep !$_->{ending}, @vms or last;
    select $readable, $writable, undef, $pause;
    for my $vm (grep $_->{io}, @open) {
        if (vec $writable, fileno $vm->{io}, 1) {
            my $sent = syswrite $vm->{io}, $vm->{out};
            $vm->{out} = defined $sent ? substr $vm->{out}, $sent : $! == 11 ? $vm->{out} : '';
        }
        hear($vm) if vec $readable, fileno $vm->{io}, 1;
    }
}
for my $vm (@vms) {
    printf "%s %s %d\n", @$vm{qw(name ending)}, length $vm->{heard};
    print $vm->{heard};
}
close STDOUT; # as in qmp.pl: nobody may be there to hear it
exit scalar grep $_->{ending} ne 'whole', @vms;
