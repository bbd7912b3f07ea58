"""EC2 discovery: the real boto3 against moto, and against a loopback server for what moto cannot do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from tests.clouds.fake_ec2 import Answer, FakeEc2, Question, error, fleet, instance_id, listening, page, reservation

from clarion_controller.discover import aws, aws_session, child
from clarion_controller.discover.aws import AwsDiscoverer
from clarion_controller.discover.discovered import Discovered
from clarion_controller.fleet_toml.fleet import Aws, HostSource
from clarion_protocol.errors import BadConfig, ClarionError, CloudRefused, CloudUnavailable

boto3 = pytest.importorskip("boto3", reason="needs boto3: pip install 'clarion[aws]'")
REGION = "eu-west-1"
SECRETS = ("very-secret-key", "very-secret-token", "very-secret-password")


def listed(endpoint: str, **source: Any) -> list[Discovered]:
    """Return what a source lists at `endpoint`."""
    return AwsDiscoverer(Aws(**{"regions": (REGION,), "endpoint": endpoint, **source})).hosts()


def refused(endpoint: str, **source: Any) -> ClarionError:
    """Return the error with which a source ends; it never shows a secret."""
    with pytest.raises(ClarionError) as caught:
        listed(endpoint, **source)
    assert not [secret for secret in SECRETS if secret in str(caught.value)]
    return caught.value


# With moto


def started(moto: str, region: str = REGION, instances: int = 1, **tags: str) -> list[str]:
    """Start instances with tags; return their ids as Clarion spells them."""
    tagged = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]
    answer = ec2(moto, region).run_instances(
        ImageId="ami-12c6146b", MinCount=instances, MaxCount=instances, TagSpecifications=tagged if tags else []
    )
    return [f"aws:{instance['InstanceId']}" for instance in answer["Instances"]]


def ec2(moto: str, region: str = REGION) -> Any:
    """Return a client with which tests change what moto has."""
    return boto3.client("ec2", endpoint_url=moto, region_name=region)


def ids(moto: str, **source: Any) -> list[str]:
    """Return the ids that a source lists at moto."""
    return [host.instance for host in listed(moto, **source)]


def test_a_server_of_a_night_is_no_part_of_the_fleet(moto: str) -> None:
    """Though it has the tags of its role, which production's servers have, too."""
    [ours] = started(moto, role="web")
    of_a_night: dict[str, Any] = {"role": "web", "clarion-run": "20261122-0a1b2c3d"}
    started(moto, **of_a_night)
    source = HostSource(aws=Aws(regions=(REGION,), endpoint=moto, tags={"role": "web"}))
    assert [host.instance for host in child.reply_to(child.Question(source, "")).hosts] == [ours]


def test_an_instance_is_described_whole(moto: str) -> None:
    """Its id, name, zone, state, tags and addresses are those that EC2 says."""
    [number] = started(moto, Name="web 1", role="web")
    [host] = listed(moto)
    [reserved] = ec2(moto).describe_instances()["Reservations"]
    [said] = reserved["Instances"]
    assert (host.instance, host.name, host.source, host.state) == (number, "web 1", "aws", "running")
    assert host.zone == said["Placement"]["AvailabilityZone"]
    assert dict(host.tags) == {"Name": "web 1", "role": "web"}
    assert host.addresses == (said["PrivateIpAddress"], said["PublicIpAddress"])
    assert host.groups == ()


def test_an_instance_without_a_name_is_called_by_its_id(moto: str) -> None:
    """An empty Name counts as none."""
    [number] = started(moto)
    [other] = started(moto, Name="")
    assert {host.name for host in listed(moto)} == {number.removeprefix("aws:"), other.removeprefix("aws:")}


def test_an_account_without_instances_has_none(moto: str) -> None:
    """An empty list is an answer, not an error: whether to believe it is decided elsewhere."""
    assert listed(moto) == []


def test_tags_choose_and_wildcards_match_as_in_ec2(moto: str) -> None:
    """All tags must fit; * and ? stand for letters."""
    web = started(moto, role="web-1", stage="live")
    started(moto, role="web-2")
    started(moto, role="web-10", stage="live")
    assert ids(moto, tags={"role": "web-?", "stage": "l*"}) == web


def test_only_instances_that_run_or_soon_will_are_listed(moto: str) -> None:
    """A stopped or terminated one is no server that there should be, unless fleet.toml says so."""
    [running], [stopped], [terminated] = (started(moto) for _ in range(3))
    ec2(moto).stop_instances(InstanceIds=[stopped.removeprefix("aws:")])
    ec2(moto).terminate_instances(InstanceIds=[terminated.removeprefix("aws:")])
    assert ids(moto) == [running]
    assert ids(moto, states=("stopped",)) == [stopped]


def test_several_regions_are_one_list_in_the_order_of_ids(moto: str) -> None:
    """Nobody can tell from the order which region answered first, and a region named twice is asked once."""
    regions = ("us-east-1", "eu-west-1", "eu-west-1", "ap-southeast-2")
    everywhere = [number for region in set(regions) for number in started(moto, region, 2)]
    started(moto, "us-west-2")
    found = listed(moto, regions=regions)
    assert [host.instance for host in found] == sorted(everywhere)
    assert {host.zone[:-1] for host in found} == set(regions)


def test_the_instances_of_an_auto_scaling_group_know_it(moto: str) -> None:
    """A source can ask for groups, and each of their instances is in its group."""
    started(moto, Name="alone")
    scaled(moto, "web-live", 2)
    scaled(moto, "web-next", 1)
    scaled(moto, "db", 1)
    assert sorted(host.groups for host in listed(moto)) == [(), ("db",), ("web-live",), ("web-live",), ("web-next",)]
    chosen = listed(moto, autoscaling_groups=("web-live", "db"))
    assert sorted(host.groups for host in chosen) == [("db",), ("web-live",), ("web-live",)]
    assert len(listed(moto, autoscaling_groups=("web-*",))) == 3


def scaled(moto: str, name: str, size: int) -> None:
    """Make an Auto Scaling group with so many instances."""
    client = boto3.client("autoscaling", endpoint_url=moto, region_name=REGION)
    client.create_launch_configuration(
        LaunchConfigurationName=name, ImageId="ami-12c6146b", InstanceType="t3.micro", SecurityGroups=["default"]
    )
    client.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchConfigurationName=name,
        MinSize=size,
        MaxSize=size,
        AvailabilityZones=[f"{REGION}a"],
    )


def test_every_page_is_read(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance on the last page is as good as one on the first."""
    monkeypatch.setattr(aws, "PAGE", 5)
    everyone = [started(moto)[0] for _ in range(12)]
    assert ids(moto) == sorted(everyone)


# With answers that moto does not give


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have credentials that are worth stealing."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRETS[0])
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRETS[1])


@pytest.fixture
def script() -> list[Answer]:
    """Return what is answered, in this order; the last again and again."""
    return []


@pytest.fixture
def scripted(script: list[Answer], keys: None) -> Iterator[FakeEc2]:
    """Listen with a script; asked who somebody is, it says so."""

    def answer(question: Question) -> Answer:
        if question.action == "GetCallerIdentity":
            return IDENTITY
        return script.pop(0) if len(script) > 1 else script[0]

    with listening(answer) as fake:
        yield fake


IDENTITY = Answer(
    b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    b"<Arn>arn:aws:iam::123456789012:user/deployer</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"
)


def test_a_fleet_of_thousands_comes_in_pages() -> None:
    """Each page is asked for with the token of the one before, and nothing is lost between them."""
    with listening(fleet(1_203)) as fake:
        found = listed(fake.endpoint)
    assert [host.instance for host in found] == [f"aws:{instance_id(number)}" for number in range(1_203)]
    assert [question.fields.get("NextToken") for question in fake.asked] == [None, "500", "1000"]
    last = found[-1]
    assert (last.name, last.zone, last.groups) == ("web-1202", "eu-west-1c", ("web-live",))
    assert last.addresses == ("10.0.4.203", "198.51.4.203")


def test_ec2_is_told_what_to_leave_out_and_who_asks() -> None:
    """What EC2 filters by itself does not travel; its log shows Clarion."""
    with listening(fleet(0)) as fake:
        listed(fake.endpoint, tags={"role": "web"}, autoscaling_groups=("a", "b"))
    [question] = fake.asked
    filters = {value for name, value in question.fields.items() if name.startswith("Filter")}
    assert filters == {
        *("tag:role", "web"),
        *("tag:aws:autoscaling:groupName", "a", "b"),
        *("instance-state-name", "pending", "running"),
    }
    assert "clarion/" in question.headers["User-Agent"]
    assert question.region == REGION


def test_an_instance_that_is_listed_twice_is_one_server(script: list[Answer], scripted: FakeEc2) -> None:
    """EC2 promises no snapshot: while it is read, an instance can move to the next page."""
    script += [page(reservation(1) + reservation(2), "2"), page(reservation(2) + reservation(3))]
    assert len(listed(scripted.endpoint)) == 3


def test_an_empty_page_is_not_the_last(script: list[Answer], scripted: FakeEc2) -> None:
    """With filters, EC2 may answer with a page of nothing and the token of the next."""
    script += [page("", "2"), page(reservation(1))]
    assert len(listed(scripted.endpoint)) == 1


def test_throttled_once_the_list_still_comes(script: list[Answer], scripted: FakeEc2) -> None:
    """Asking again a moment later is nobody's trouble."""
    script += [page(reservation(1), "2"), error("RequestLimitExceeded", status=503), page(reservation(2))]
    assert len(listed(scripted.endpoint)) == 2


def test_a_list_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a time after which no more pages are asked for; half a fleet is no answer."""
    monkeypatch.setattr(aws, "BEGIN_PAGES_S", 0.2)
    with listening(fleet(aws.PAGE * 40)) as fake:
        problem = refused(fake.endpoint)
    assert isinstance(problem, CloudUnavailable)
    assert "more servers in eu-west-1" in str(problem)


def test_a_region_that_is_down_takes_the_whole_answer_with_it() -> None:
    """The servers of the other region alone would look as if the rest were gone; the error names the region."""

    def answer(question: Question) -> Answer:
        return error("Unavailable", status=503) if question.region == "us-east-1" else page(reservation(1))

    with listening(answer) as fake:
        problem = refused(fake.endpoint, regions=("eu-west-1", "us-east-1", "eu-north-1"))
    assert isinstance(problem, CloudUnavailable)
    assert "us-east-1" in str(problem)
    assert "eu-" not in str(problem)


CANONICAL = (
    f"The signature we calculated does not match.\n\nThe Canonical String was:\nx-amz-security-token:{SECRETS[1]}"
)
ERRORS: dict[str, tuple[Answer, type[ClarionError], list[str]]] = {
    "a permission is missing": (
        error("UnauthorizedOperation", "You are not authorized.", 403),
        CloudRefused,
        ["ec2:DescribeInstances", "eu-west-1", "arn:aws:iam::123456789012:user/deployer", "'clarion hosts'"],
    ),
    "a permission is missing, in the words of other services": (
        error("AccessDenied", status=403),
        CloudRefused,
        ["ec2:DescribeInstances", "arn:aws:iam::123456789012:user/deployer"],
    ),
    "the keys are wrong, or the region is not enabled": (
        error("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
        CloudRefused,
        ["does not accept these credentials in eu-west-1", "'aws account list-regions'"],
    ),
    "the access key was deleted": (error("InvalidClientTokenId"), CloudRefused, ["does not know this access key"]),
    "the secret key is wrong": (error("SignatureDoesNotMatch", CANONICAL, 403), CloudRefused, ["the secret key"]),
    "the session has expired": (error("ExpiredToken"), CloudRefused, ["have expired", "'aws sso login'"]),
    "the clock is an hour ahead": (
        error("RequestExpired", Date=formatdate(time.time() - 3600, usegmt=True)),
        CloudRefused,
        ["too old or too new", "this machine's clock is", "s ahead of theirs", "'timedatectl'"],
    ),
    "the clock is right and the request is too old all the same": (
        error("RequestExpired", Date=formatdate(time.time(), usegmt=True)),
        CloudRefused,
        ["too old or too new", "temporary credentials that have expired"],
    ),
    "the account has no EC2 there": (error("OptInRequired", status=401), CloudRefused, ["enable-region", "eu-west-1"]),
    "throttled": (error("RequestLimitExceeded", status=503), CloudUnavailable, ["too many requests in eu-west-1"]),
    "throttled, in the words of other services": (
        error("Throttling", status=400),
        CloudUnavailable,
        ["too many requests in eu-west-1", "discover_every"],
    ),
    "a fault of AWS": (error("InternalError", status=500), CloudUnavailable, ["a fault of its own in eu-west-1"]),
    "a filter that EC2 does not take": (
        error("InvalidParameterValue", "The filter 'tag:' is invalid"),
        BadConfig,
        ["what fleet.toml asks for", "The filter 'tag:' is invalid"],
    ),
    "an error nobody has heard of": (
        error("SomethingNew", f"with {SECRETS[1]} inside", 418),
        CloudUnavailable,
        ["SomethingNew"],
    ),
    "a gateway's error page": (
        Answer(b"<!doctype html><html><body>Bad gateway</body></html>", 502),
        CloudUnavailable,
        ["eu-west-1"],
    ),
    "a well-formed error page": (
        Answer(b"<html><body>Service Unavailable</body></html>", 503),
        CloudUnavailable,
        ["a fault of its own in eu-west-1"],
    ),
    "an empty error": (Answer(b"", 504), CloudUnavailable, ["a fault of its own"]),
    "a proxy's sign-in page": (
        Answer(b"<html><head/><body>Welcome to the hotel!</body></html>"),
        CloudUnavailable,
        ["no list of instances", "A proxy"],
    ),
    "no XML": (Answer(b'{"instances": []}'), CloudUnavailable, ["does not speak EC2's language"]),
    "half a page": (Answer(page(reservation(1)).body[:1000]), CloudUnavailable, ["does not speak EC2's language"]),
    "an error that is none": (
        Answer(b"<Response><Errors>none</Errors></Response>", 400),
        CloudUnavailable,
        ["does not speak EC2's language"],
    ),
    "an instance with an id that is none": (
        page(reservation(1).replace(instance_id(1), "../../etc/passwd")),
        CloudUnavailable,
        ["an instance without an id"],
    ),
    "the same token for ever": (page(reservation(1), "again"), CloudUnavailable, ["does not speak EC2's language"]),
    "somebody who hangs up in the middle": (
        Answer(b"<Desc", headers={"Content-Length": "1000", "Connection": "close"}),
        CloudUnavailable,
        ["eu-west-1"],
    ),
}


@pytest.mark.parametrize(("answer", "kind", "said"), ERRORS.values(), ids=ERRORS.keys())
def test_what_goes_wrong_is_said_in_one_sentence(
    script: list[Answer], scripted: FakeEc2, answer: Answer, kind: type[ClarionError], said: list[str]
) -> None:
    """Whose fault it is, where, and what to do next; no secret is shown, whatever AWS quotes."""
    script.append(answer)
    problem = refused(scripted.endpoint)
    assert type(problem) is kind
    assert problem.hint
    assert [words for words in said if words not in str(problem)] == []


def test_a_refusal_is_told_even_if_nobody_says_as_whom(keys: None) -> None:
    """Asking AWS who we are may fail as well; the permission is named all the same."""
    with listening(lambda _: error("UnauthorizedOperation", status=403)) as fake:
        problem = refused(fake.endpoint)
    assert "forbids ec2:DescribeInstances to these credentials in eu-west-1" in str(problem)


def test_no_more_than_a_few_attempts_are_made(script: list[Answer], scripted: FakeEc2) -> None:
    """Who asks for patience is not asked for ever."""
    script.append(error("RequestLimitExceeded", status=503))
    refused(scripted.endpoint)
    assert len(scripted.asked) == aws_session.ATTEMPTS


def test_a_refusal_is_not_asked_again(script: list[Answer], scripted: FakeEc2) -> None:
    """A locked account is not knocked at three times a minute."""
    script.append(error("AuthFailure", status=401))
    refused(scripted.endpoint)
    assert len(scripted.asked) == 1


def test_one_who_listens_and_never_answers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, script: list[Answer], scripted: FakeEc2
) -> None:
    """Each attempt has its end, and so have all of them."""
    monkeypatch.setattr(aws_session, "READ_S", 0.1)
    script.append(Answer(after=30))
    began = time.monotonic()
    problem = refused(scripted.endpoint)
    assert time.monotonic() - began < 29
    assert isinstance(problem, CloudUnavailable)
    assert "does not answer in eu-west-1 at 127.0.0.1 (ReadTimeoutError)" in str(problem)


def test_the_slowest_answer_takes_less_than_a_minute() -> None:
    """With the longest pauses that boto3 makes between attempts: 1 s, 2 s."""
    pauses = sum(2**number for number in range(aws_session.ATTEMPTS - 1))
    attempts = aws_session.ATTEMPTS * (aws_session.CONNECT_S + aws_session.READ_S)
    assert aws.BEGIN_PAGES_S + attempts + pauses < 60


def test_nobody_listens(keys: None) -> None:
    """A dead endpoint is named, without the password that an address may hold."""
    problem = refused(f"http://user:{SECRETS[2]}@127.0.0.1:1")
    assert isinstance(problem, CloudUnavailable)
    assert "does not answer in eu-west-1 at 127.0.0.1 (EndpointConnectionError)" in str(problem)


def test_a_dead_proxy_is_told_from_a_dead_cloud(monkeypatch: pytest.MonkeyPatch, keys: None) -> None:
    """Its address may hold a password, and is not shown."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{SECRETS[2]}@127.0.0.1:1")
    problem = refused("http://127.0.0.2:1")
    assert isinstance(problem, CloudUnavailable)
    assert "proxy" in str(problem)


# What is configured


def test_a_region_that_nobody_knows_is_not_asked() -> None:
    """Names that come near are offered; they are of all of AWS's partitions."""
    problem = refused("", regions=("eu-west-11",))
    assert isinstance(problem, BadConfig)
    assert "no region 'eu-west-11'" in str(problem)
    assert "Did you mean eu-west-1" in str(problem)
    assert "cn-north-1" in str(refused("", regions=("cn-nort-1",)))


def test_an_endpoint_may_have_regions_of_its_own() -> None:
    """What only speaks EC2's language calls its regions as it likes."""
    with listening(fleet(1)) as fake:
        assert len(listed(fake.endpoint, regions=("cellar",))) == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"regions": ()}, "names no region"),
        ({"regions": ("eu west 1",)}, "eu west 1"),
        ({"endpoint": "moto:5000"}, "no address"),
        ({"endpoint": "https://"}, "no address"),
        ({"endpoint": "http://[::1"}, "no address"),
        ({"endpoint": "file:///etc/passwd"}, "no address"),
    ],
    ids=["no region", "a region with spaces", "no scheme", "no host", "half an address", "a file"],
)
def test_what_cannot_be_asked_is_the_configurations_fault(source: dict[str, Any], said: str) -> None:
    """Nothing is asked of anybody."""
    problem = refused(**{"endpoint": "http://127.0.0.1:1", **source})
    assert isinstance(problem, BadConfig)
    assert said in str(problem)


def credentials(text: str) -> None:
    """Write the file of credentials."""
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(text)


def configuration(text: str) -> None:
    """Write boto3's own configuration."""
    Path(os.environ["AWS_CONFIG_FILE"]).write_text(text)


def test_a_profile_signs_with_its_own_key() -> None:
    """Neither the environment's credentials nor another profile's are used."""
    credentials("[ops]\naws_access_key_id = AKIAOPS\naws_secret_access_key = x\n")
    with listening(fleet(1)) as fake:
        listed(fake.endpoint, profile="ops")
    assert "Credential=AKIAOPS/" in fake.asked[0].headers["Authorization"]


def test_a_profile_that_there_is_not() -> None:
    """Those that there are stand beside it."""
    credentials("[production]\naws_access_key_id = x\n[staging]\naws_access_key_id = x\n")
    problem = refused("http://127.0.0.1:1", profile="prodution")
    assert isinstance(problem, BadConfig)
    assert "'prodution'" in str(problem)
    assert "Did you mean production?" in str(problem)
    assert "Known: production, staging." in str(refused("http://127.0.0.1:1", profile="x"))


def test_a_profile_that_only_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_PROFILE counts where fleet.toml names none, and so do its mistakes."""
    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert "no AWS profile 'gone'" in str(refused("http://127.0.0.1:1"))


def test_boto3s_own_configuration_is_broken() -> None:
    """The file is named."""
    configuration("[default\nregion = x\n")
    problem = refused("http://127.0.0.1:1")
    assert isinstance(problem, BadConfig)
    assert os.environ["AWS_CONFIG_FILE"] in str(problem)


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent without a signature."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with listening(fleet(1)) as fake:
        problem = refused(fake.endpoint)
    assert isinstance(problem, CloudRefused)
    assert "no AWS credentials" in str(problem)
    assert fake.asked == []


def test_half_of_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The missing half is named, the other is not shown."""
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    problem = refused("http://127.0.0.1:1")
    assert isinstance(problem, CloudRefused)
    assert "AWS_SECRET_ACCESS_KEY" in str(problem)
    assert os.environ["AWS_ACCESS_KEY_ID"] not in str(problem)


def test_a_command_that_should_give_credentials_fails() -> None:
    """What it printed may hold anything, and is not shown."""
    configuration(f"[profile ops]\ncredential_process = sh -c 'echo {SECRETS[2]} >&2; exit 1'\n")
    problem = refused("http://127.0.0.1:1", profile="ops")
    assert isinstance(problem, CloudRefused)
    assert "'aws sts get-caller-identity --profile ops'" in str(problem)


def test_a_role_that_may_not_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The missing action is the one on the way to the role, not the one that was never asked for."""
    configuration(
        "[profile lister]\nrole_arn = arn:aws:iam::123456789012:role/lister\nsource_profile = base\n"
        "[profile base]\naws_access_key_id = x\naws_secret_access_key = y\n"
    )
    with listening(lambda _: error("AccessDenied", status=403)) as fake:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", fake.endpoint)
        problem = refused(fake.endpoint, profile="lister")
    assert isinstance(problem, CloudRefused)
    assert "sts:AssumeRole" in str(problem)
    assert "DescribeInstances" not in str(problem)


# What is loaded


def test_boto3_is_loaded_only_when_hosts_are_asked_for() -> None:
    """Importing the provider loads no SDK."""
    code = "import clarion_controller.discover.aws, sys; assert not {'boto3', 'botocore'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], timeout=30, check=True)


def test_without_boto3_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller that was installed without the extra says which one."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    problem = refused("http://127.0.0.1:1")
    assert isinstance(problem, BadConfig)
    assert problem.hint == "Install it where the controller runs: pip install 'clarion[aws]'"
