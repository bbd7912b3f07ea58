"""Answers as EC2 does where moto cannot: fleets of thousands in pages, refusals, throttling, nonsense and silence.

    with listening(fleet(5_000)) as ec2:
        ... ec2.endpoint ... ec2.asked

moto takes minutes to list 5,000 instances; here they are written once, before they are asked for.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
MOST_PER_PAGE = 1000  # as EC2 says


@dataclass(frozen=True)
class Question:
    """What was asked: the form's fields, and the region in which it was signed."""

    fields: dict[str, str]
    region: str
    headers: dict[str, str]

    @property
    def action(self) -> str:
        """The call's name."""
        return self.fields.get("Action", "")


@dataclass(frozen=True)
class Answer:
    """What is answered, or nothing at all for `after` seconds."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0


Answering = Callable[[Question], Answer]


@dataclass(frozen=True)
class FakeEc2:
    """Where it listens, and what it has been asked so far."""

    endpoint: str
    asked: list[Question]


@contextmanager
def listening(answering: Answering) -> Iterator[FakeEc2]:
    """Listen on loopback until the block ends."""
    asked: list[Question] = []
    closed = threading.Event()

    class Once(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            fields = dict(parse_qsl(self.rfile.read(length).decode(), keep_blank_values=True))
            signed = re.search(r"Credential=[^/]+/\d+/([^/]+)/", self.headers.get("Authorization", ""))
            asked.append(Question(fields, signed[1] if signed else "", dict(self.headers)))
            self.give(answering(asked[-1]))

        def give(self, answer: Answer) -> None:
            closed.wait(answer.after)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: Any) -> None:
            pass

        def send_response(self, code: int, message: str | None = None) -> None:
            self.send_response_only(code, message)  # without a Date of its own

    server = ThreadingHTTPServer(("127.0.0.1", 0), Once)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up first is the test's business
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield FakeEc2(f"http://127.0.0.1:{server.server_address[1]}", asked)
    finally:
        closed.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def listening_with(count: int) -> Iterator[str]:
    """Listen with so many instances; return where."""
    with listening(fleet(count)) as ec2:
        yield ec2.endpoint


def fleet(count: int) -> Answering:
    """Answer with so many running instances, one to a reservation, in pages of what was asked for."""
    written = [reservation(number) for number in range(count)]

    def answer(question: Question) -> Answer:
        begin = int(question.fields.get("NextToken", "0"))
        end = begin + min(int(question.fields.get("MaxResults", MOST_PER_PAGE)), MOST_PER_PAGE)
        return page("".join(written[begin:end]), str(end) if end < count else "")

    return answer


def page(reservations: str, token: str = "") -> Answer:
    """Return a page of instances, with the token of the next."""
    following = f"<nextToken>{token}</nextToken>" if token else ""
    body = f'<DescribeInstancesResponse xmlns="{NAMESPACE}"><requestId>8f7724cf</requestId>'
    body += f"<reservationSet>{reservations}</reservationSet>{following}</DescribeInstancesResponse>"
    return Answer(body.encode(), headers={"Content-Type": "text/xml;charset=UTF-8"})


def error(code: str, message: str = "As EC2 would say it.", status: int = 400, **headers: str) -> Answer:
    """Return an error as EC2 words it."""
    body = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    return Answer(f"{body}<RequestID>ea966190</RequestID></Response>".encode(), status, headers)


def instance_id(number: int) -> str:
    """Return the id of the instance of that number."""
    return f"i-{number:017x}"


def reservation(number: int) -> str:
    """Return one reservation with one instance, as long as EC2 writes it: about 4 kB."""
    return _RESERVATION.format(
        id=instance_id(number),
        hex=f"{number:017x}",
        zone="abc"[number % 3],
        private=f"10.0.{number // 250}.{number % 250 + 1}",
        public=f"198.51.{number // 250}.{number % 250 + 1}",
        number=number,
    )


_TAGS = {
    "Name": "web-{number}",
    "role": "web",
    "environment": "production",
    "team": "shop",
    "cost-center": "4711",
    "aws:autoscaling:groupName": "web-live",
    "aws:ec2launchtemplate:id": "lt-0a20c965061f64abc",
    "aws:ec2launchtemplate:version": "17",
}
_TAG_SET = "".join(f"<item><key>{key}</key><value>{value}</value></item>" for key, value in _TAGS.items())
_GROUP_SET = "<groupSet><item><groupId>sg-0598c7d356eba48d7</groupId><groupName>web</groupName></item></groupSet>"
_TIME = "2026-11-02T06:59:31.000Z"
_RESERVATION = f"""<item><reservationId>r-{{hex}}</reservationId><ownerId>123456789012</ownerId><groupSet/>
<requesterId>940372691376</requesterId><instancesSet><item><instanceId>{{id}}</instanceId>
<imageId>ami-0abcdef1234567890</imageId><instanceState><code>16</code><name>running</name></instanceState>
<privateDnsName>ip-{{number}}.eu-west-1.compute.internal</privateDnsName>
<dnsName>ec2-{{number}}.eu-west-1.compute.amazonaws.com</dnsName><reason/><keyName>ops</keyName>
<amiLaunchIndex>0</amiLaunchIndex><productCodes/><instanceType>m7g.large</instanceType><launchTime>{_TIME}</launchTime>
<placement><availabilityZone>eu-west-1{{zone}}</availabilityZone><availabilityZoneId>euw1-az1</availabilityZoneId>
<groupName/><tenancy>default</tenancy></placement><monitoring><state>enabled</state></monitoring>
<subnetId>subnet-01c1a8a7d1f0e4b11</subnetId><vpcId>vpc-0b1c2d3e4f5a6b7c8</vpcId>
<privateIpAddress>{{private}}</privateIpAddress><ipAddress>{{public}}</ipAddress>
<sourceDestCheck>true</sourceDestCheck>{_GROUP_SET}<architecture>arm64</architecture>
<rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName><blockDeviceMapping><item>
<deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-{{hex}}</volumeId><status>attached</status>
<attachTime>{_TIME}</attachTime><deleteOnTermination>true</deleteOnTermination></ebs></item></blockDeviceMapping>
<virtualizationType>hvm</virtualizationType><clientToken>fleet-{{hex}}</clientToken><tagSet>{_TAG_SET}</tagSet>
<hypervisor>xen</hypervisor><networkInterfaceSet><item><networkInterfaceId>eni-{{hex}}</networkInterfaceId>
<subnetId>subnet-01c1a8a7d1f0e4b11</subnetId><vpcId>vpc-0b1c2d3e4f5a6b7c8</vpcId><description/>
<ownerId>123456789012</ownerId><status>in-use</status><macAddress>02:dd:2c:5e:01:69</macAddress>
<privateIpAddress>{{private}}</privateIpAddress><sourceDestCheck>true</sourceDestCheck>{_GROUP_SET}
<attachment><attachmentId>eni-attach-{{hex}}</attachmentId><deviceIndex>0</deviceIndex><status>attached</status>
<attachTime>{_TIME}</attachTime><deleteOnTermination>true</deleteOnTermination></attachment>
<association><publicIp>{{public}}</publicIp><publicDnsName/><ipOwnerId>amazon</ipOwnerId></association>
<privateIpAddressesSet><item><privateIpAddress>{{private}}</privateIpAddress><primary>true</primary></item>
</privateIpAddressesSet><ipv6AddressesSet/><interfaceType>interface</interfaceType></item></networkInterfaceSet>
<iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/web</arn><id>AIPAIOSFODNN7EXAMPLE</id>
</iamInstanceProfile><ebsOptimized>true</ebsOptimized><enaSupport>true</enaSupport><cpuOptions><coreCount>2</coreCount>
<threadsPerCore>1</threadsPerCore></cpuOptions><capacityReservationSpecification>
<capacityReservationPreference>open</capacityReservationPreference></capacityReservationSpecification>
<hibernationOptions><configured>false</configured></hibernationOptions><enclaveOptions><enabled>false</enabled>
</enclaveOptions><metadataOptions><state>applied</state><httpTokens>required</httpTokens>
<httpPutResponseHopLimit>2</httpPutResponseHopLimit><httpEndpoint>enabled</httpEndpoint></metadataOptions>
</item></instancesSet></item>"""
