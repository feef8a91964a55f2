# Lets the worker that a VM leaves reach the QEMU that waits for it here: an sshd for this one move,
# with keys of its own, that runs reach.pl and nothing else. It stands behind once.pl and sshd.pl.
# Arguments: the folder of images, the VM's run directory, the seconds that whoever asks for it may
# be silent for, once somebody has come.
#
# Standard input: reach.pl, the private key of this host, the line of authorized_keys, each in
# hexadecimal digits. From then on what is said means nothing but that somebody is there. Beside the
# lines of sshd.pl it says:
#
#     here                   the other worker has come
#     failed WHY
#
# It ends when nobody hears it any more, and the sshd with it.
my ($folder, $run, $silence) = @ARGV;
$| = 1;
$SIG{PIPE} = $SIG{HUP} = 'IGNORE';
sub leave { exit $_[0] }
sub finish { print "@_\n"; exit }

$folder =~ s{^~(?=/|$)}{$ENV{HOME}};
finish('failed', 'no such run directory') if $run !~ m{^[\w./-]+\z};
my $program = kept($folder) // finish('lacks', 'program');
pipe my $sign, my $teller or finish('failed', $!);
meet($sign, $folder, "exec perl $program $run /proc/$$/fd/" . fileno $teller, 64);
print "here\n";
my $hears = IO::Select->new(\*STDIN);
while ($hears->can_read($silence)) { sysread STDIN, my $word, 64 or last }
