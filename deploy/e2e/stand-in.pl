# Stands in for Grafana in the end-to-end test, where its image cannot be had: answers every request with 200 and the
# health of Grafana.
use strict;
use warnings;
use IO::Socket::INET;

my $port = shift @ARGV;
$port =~ /^\d+$/ or $port = 3000;
$SIG{TERM} = sub { exit 0 };
$SIG{PIPE} = 'IGNORE';
my $server = IO::Socket::INET->new(LocalPort => $port, Listen => 64, ReuseAddr => 1) or die "port $port: $!";
my $answer = '{"database":"ok"}';
while (1) {
    my $client = $server->accept() or next;
    eval {
        local $SIG{ALRM} = sub { die "slow\n" };
        alarm 10;
        while (defined(my $line = <$client>)) { last if $line =~ /^\r?\n$/; }
        alarm 0;
    };
    print $client "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: " . length($answer) . "\r\nconnection: close\r\n\r\n$answer";
    close $client;
}
