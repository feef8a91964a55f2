# Carries lines between vmops and QEMU's monitors, of many VMs at once.
#
# Arguments: the folder of the run directories, the most bytes and the most lines that one monitor
# may send, the longest line. Standard input, a line each:
#
#     vm NAME|* LIMIT             a VM, and the seconds that a greeting or an answer may take; with
#                                 a star the lines that follow are for every VM there is
#     say JSON                    a request to it
#     tap NAME                    getfd, with that TAP, opened
#     file ro|rw HEX JSON         this request, with the file of that path, opened as the SSH user
#     need HEX                    a text that the answer before must hold; `lack`: must not
#     wait SECONDS stop|go EVENT|- HEX
#                                 for an event, or for the session's end (-); HEX are texts,
#                                 with commas, one of which the event's line must hold
#
# Standard output, when all is over, for each VM a line and then exactly that many bytes:
#
#     NAME ENDING REQUESTS SAID_BYTES HEARD_BYTES
#
# It exits with 0 when every request was granted and the last event that was awaited has come.
#
# No module is loaded, not even strict: reading them takes longer than the work. The other end of a
# socket may be a QEMU that a guest rules: what it sends is counted and carried, never trusted.
my ($root, $most, $most_lines, $longest) = @ARGV;
$SIG{PIPE} = 'IGNORE';

my (@vms, @latest);
while (<STDIN>) {
    chomp;
    my ($what, $rest) = split / /, $_, 2;
    if ($what eq 'vm') {
        my ($name, $limit) = split / /, $rest;
        # What is no VM has no pidfile: the folder of the locks, and VMs that have ended.
        my @names = $name eq '*' ? grep -e "$root/$_/pid", entries($root) : $name;
        @latest = map {
            {name => $_, limit => $limit, todo => [], doors => ['qmp', 'qmp-human']}
        } @names;
        push @vms, @latest;
    }
    else { push @{$_->{todo}}, [$what, $rest] for @latest }
}

# `glob` would load a module.
sub entries { opendir my $folder, $_[0] or return; return grep !/^\./, readdir $folder }

# Whether a signal holds the VM's QEMU: it can greet nobody, and would cost all its time.
sub is_held {
    # O_NOFOLLOW as below, O_NONBLOCK: the file may have been replaced by a FIFO.
    sysopen my $file, "$root/$_[0]{name}/pid", 0x20000 | 0x8000 | 0x800 or return 0;
    sysread $file, my $pid, 20 or return 0;
    my ($number) = $pid =~ /^(\d+)/ or return 0;
    open my $stat, '<', "/proc/$number/stat" or return 0;
    sysread $stat, my $text, 512;
    return $text =~ /\) [Tt] /;
}

# Seconds since the worker booted: a clock that nobody sets, and one that needs no Time::HiRes.
open my $clock, '<', '/proc/uptime';
sub now { sysseek $clock, 0, 0; sysread $clock, my $text, 64; return $text + 0 }

sub over {
    my ($vm, $ending, $said) = @_;
    $vm->{ending} = $ending;
    $vm->{said} = $said if defined $said;
    close delete $vm->{io} if $vm->{io};
}

# Try the sockets that have not been tried. QEMU serves one client of a socket at a time: the next
# one may connect, and is greeted when the first has left.
sub knock {
    my $vm = shift;
    close delete $vm->{io} if $vm->{io};
    while (my $door = shift @{$vm->{doors}}) {
        my $path = "$root/$vm->{name}/$door.sock";
        # The directory is QEMU's to write in: a link there could lead to another VM's monitor.
        # O_PATH | O_NOFOLLOW, the latter as x86 and as ARM count it: with O_PATH the kernel ignores
        # what it does not know. What was opened is what is connected to, whatever the name is now.
        if (!sysopen my $at, $path, 0x200000 | 0x20000 | 0x8000) { $vm->{said} = "$path: $!" }
        elsif (!-S $at) { $vm->{said} = "$path is no socket" }
        else {
            # AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK
            socket my $io, 1, 1 | 2048, 0;
            if (connect $io, pack 'Sa108', 1, '/proc/self/fd/' . fileno $at) {
                @$vm{qw(io heard read out busy)} = ($io, '', 0, '', 1);
                $vm->{end} = $vm->{first} + $vm->{limit};
                # Two clients at most are expected: one at each socket.
                my $patience = $vm->{limit} / 2 < 1 ? $vm->{limit} / 2 : 1;
                $vm->{end} = $vm->{first} + $patience if @{$vm->{doors}};
                return;
            }
            $vm->{said} = "$path: $!";
            # EAGAIN: others stand in the queue already.
            $vm->{busy} = 1 if $! == 11;
        }
    }
    over($vm, $vm->{busy} ? ('busy', '') : 'no-socket');
}

# Whether the awaited event is among those that came. Each counts for one wait.
sub came {
    my $vm = shift;
    my (undef, $event, @holding) = @{$vm->{wait}};
    my $events = $vm->{events} ||= [];
    for my $n (0 .. $#$events) {
        my ($name, $line) = @{$events->[$n]};
        next unless $name eq $event && grep index($line, $_) >= 0, @holding;
        splice @$events, $n, 1;
        $vm->{missed} = 0;
        return 1;
    }
    $vm->{missed} = 1;
    return 0;
}

# The next lines: all requests up to the next wait in one go, or that wait.
sub go_on {
    my $vm = shift;
    my $todo = $vm->{todo};
    while (1) {
        delete $vm->{wait};
        while (@$todo && $todo->[0][0] eq 'say') {
            my $request = (shift @$todo)->[1];
            my $id = ++$vm->{id};
            $request =~ s/^\{/{"id": "vmops-$id", /;
            $vm->{out} .= "$request\n";
            $vm->{asked}{$id} = 1;
        }
        if (%{$vm->{asked} || {}}) { $vm->{end} = now() + $vm->{limit}; return }
        if (@$todo && $todo->[0][0] =~ /^(need|lack)$/) {
            next if index($vm->{answer}, pack 'H*', (shift @$todo)->[1]) >= 0 xor $1 eq 'lack';
            return over($vm, 'other', substr $vm->{answer}, 0, 200);
        }
        if (@$todo && $todo->[0][0] eq 'tap') {
            my $tap = (shift @$todo)->[1];
            my $why = give($vm, $tap) or next;
            return over($vm, 'no-tap', "$tap: $why");
        }
        if (@$todo && $todo->[0][0] eq 'file') {
            my ($how, $hex, $request) = split / /, (shift @$todo)->[1], 3;
            my $why = lend($vm, pack('H*', $hex), $how eq 'rw' ? 2 : 0, $request) or next;
            return over($vm, 'no-file', $why);
        }
        my $next = shift @$todo or return over($vm, 'whole');
        my ($seconds, $then, $event, $hex) = split / /, $next->[1];
        $vm->{wait} = [$then, $event, $hex ? map { pack 'H*', $_ } split /,/, $hex : ''];
        $vm->{end} = now() + $seconds;
        return unless came($vm);
        return over($vm, 'whole') if $then eq 'stop';
    }
}

# Opens a TAP as QEMU does, and hands it over: why not, or an empty text. A QEMU that has dropped its
# rights may open none where /dev/net/tun is root's.
sub give {
    my ($vm, $tap) = @_;
    # Root would make one that is not there.
    -e "/sys/class/net/$tap/tun_flags" or return 'there is no such TAP';
    # O_RDWR | O_NONBLOCK; TUNSETIFF with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
    sysopen my $device, '/dev/net/tun', 2 | 2048 or return "/dev/net/tun: $!";
    ioctl $device, 0x400454ca, pack 'a16 S x22', $tap, 0x2 | 0x1000 | 0x4000 or return "$!";
    return hand($vm, qq({"execute": "getfd", "arguments": {"fdname": "$tap"}}), $device);
}

# The same for a file, which is opened with the rights of the SSH user and no others: it may have
# been replaced since it was judged. A FIFO is not waited for.
sub lend {
    my ($vm, $path, $mode, $request) = @_;
    my ($user, @groups) = split / /, $ENV{VMOPS_IDS} // '';
    @groups or return "$path: whose it may be is not known";
    my $own = $);
    $) = "$groups[0] @groups";
    $> = $user;
    my $file;
    my $why = $> != $user ? "no way to user $user: $!"
        : sysopen($file, $path, $mode | 2048) ? '' : "$!";
    $> = 0;
    $) = $own;
    return "$path: $why" if $why;
    -f $file || !$mode && -b $file or return "$path is no file";
    return hand($vm, $request, $file);
}

# Sends a request and a descriptor. Perl has no sendmsg: it is called by its number, that of the
# machine this perl is made for. All has been answered that was asked, so the few bytes find room in
# the socket.
sub hand {
    my ($vm, $request, $file) = @_;
    open my $self, '<', '/proc/self/exe' or return "$!";
    sysread $self, my $head, 20;
    my $sendmsg = {62 => 46, 183 => 211}->{unpack 'x18 S', $head} or return 'an unknown machine';
    my $id = ++$vm->{id};
    $request =~ s/^\{/{"id": "vmops-$id", /;
    my $text = "$request\n";
    # A struct iovec; a struct cmsghdr with SOL_SOCKET, SCM_RIGHTS and the descriptor; the msghdr
    # that has both.
    my $words = pack 'P Q', $text, length $text;
    my $rights = pack 'Q l l l x4', 20, 1, 1, fileno $file;
    my $message = pack 'Q L x4 P Q P Q L x4', 0, 0, $words, 1, $rights, length $rights, 0;
    my $sent = syscall $sendmsg, fileno $vm->{io}, $message, 0;
    return $sent < 0 ? "$!" : 'it was cut short' if $sent != length $text;
    $vm->{asked}{$id} = 1;
    return '';
}

sub line {
    my ($vm, $line) = @_;
    if (!$vm->{id}) {
        return over($vm, 'not-qmp', substr $line, 0, 200) if $line !~ /^\{"QMP":/;
        unshift @{$vm->{todo}}, ['say', '{"execute": "qmp_capabilities"}'];
        go_on($vm);
    }
    elsif ($line =~ /"id": ?"vmops-(\d+)"/ && delete $vm->{asked}{$1}) {
        $vm->{refused} = 1 if $line =~ /^\{(?:"id": ?"[^"]*", ?)?"error":/;
        $vm->{answer} = $line;
        return if %{$vm->{asked}};
        # After a refusal nothing that builds on it is asked or waited for.
        $vm->{refused} ? over($vm, 'whole') : go_on($vm);
    }
    elsif ($line =~ /"event": ?"([^"]*)"/) {
        push @{$vm->{events}}, [$1, $line];
        return unless $vm->{wait} && came($vm);
        $vm->{wait}[0] eq 'stop' ? over($vm, 'whole') : go_on($vm);
    }
    elsif ($line !~ /^\{/) { over($vm, 'not-qmp', substr $line, 0, 200) }
}

sub hear {
    my $vm = shift;
    # All of it is kept in one piece; `read` is where the first line begins that was not looked at.
    my $got = sysread $vm->{io}, $vm->{heard}, 65536, length $vm->{heard};
    return if !defined $got && $! == 11;
    if (!$got) {
        return knock($vm) if !$vm->{id} && @{$vm->{doors}};
        # The end of the session is what every wait that may stop here waits for too.
        $vm->{missed} = 0 if $vm->{wait} && $vm->{wait}[0] eq 'stop';
        return over($vm, 'hung-up', $vm->{id} ? '' : 'before its greeting');
    }
    while (!$vm->{ending} && (my $stop = index $vm->{heard}, "\n", $vm->{read}) >= 0) {
        my $line = substr $vm->{heard}, $vm->{read}, $stop - $vm->{read};
        $vm->{read} = $stop + 1;
        return over($vm, 'too-much', "a line of " . length $line) if length $line > $longest;
        return over($vm, 'too-much', "$most_lines lines") if ++$vm->{lines} > $most_lines;
        line($vm, $line);
    }
    return if $vm->{ending};
    my $rest = length($vm->{heard}) - $vm->{read};
    return over($vm, 'too-much', "a line of more than $longest bytes") if $rest > $longest;
    over($vm, 'too-much', "more than $most bytes") if length $vm->{heard} > $most;
}

# Its time is up: for the greeting, for an answer, or for an event.
sub late {
    my $vm = shift;
    return @{$vm->{doors}} ? knock($vm) : over($vm, 'busy', '') if !$vm->{id};
    return go_on($vm) if $vm->{wait} && $vm->{wait}[0] eq 'stop';
    over($vm, 'silent');
}

for my $vm (@vms) {
    $vm->{first} = now();
    is_held($vm) ? over($vm, 'held') : knock($vm);
}
while (1) {
    my $now = now();
    for my $vm (@vms) { late($vm) while !$vm->{ending} && $now >= $vm->{end} }
    my @open = grep !$_->{ending}, @vms or last;
    my ($readable, $writable, $pause) = ('', '', 3600);
    for my $vm (@open) {
        vec($readable, fileno $vm->{io}, 1) = 1;
        vec($writable, fileno $vm->{io}, 1) = 1 if $vm->{out} ne '';
        $pause = $vm->{end} - $now if $vm->{end} - $now < $pause;
    }
    select $readable, $writable, undef, $pause;
    for my $vm (@open) {
        if (vec $writable, fileno $vm->{io}, 1) {
            my $sent = syswrite $vm->{io}, $vm->{out};
            # One that hung up is noticed by reading, when all that it said has been read.
            $vm->{out} = defined $sent ? substr $vm->{out}, $sent : $! == 11 ? $vm->{out} : '';
        }
        hear($vm) if vec $readable, fileno $vm->{io}, 1;
    }
}
my $failed;
for my $vm (@vms) {
    my ($said, $heard) = map { $_ // '' } @$vm{qw(said heard)};
    $said = '' if $vm->{ending} eq 'whole' || $vm->{ending} eq 'silent';
    printf "%s %s %d %d %d\n", @$vm{qw(name ending)}, $vm->{id} // 0, length $said, length $heard;
    print $said, $heard;
    my $done = $vm->{ending} eq 'whole' || $vm->{ending} eq 'hung-up' && $vm->{wait};
    $failed = 1 if !$done || $vm->{missed} || $vm->{refused};
}
# Whoever wanted to hear it may be gone. What was done is done, and perl would end as if it were not.
close STDOUT;
exit($failed // 0);
