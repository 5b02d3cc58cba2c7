"""The same mail twice, and one number in two spellings."""

from concurrent.futures import ThreadPoolExecutor

from tests.flows.house import House, fresh, letter


def test_adr_28_two_spellings_of_one_number_are_one_call(open_house: House) -> None:
    mail, number = letter(), fresh()
    national = number.removeprefix("+1")
    assert open_house.send(mail, number, f"1-{national[:3]}-{national[3:]}", f"/FAX={number}/@fax.example.com") == {}
    (report,) = open_house.reports(mail)
    assert "delivered" in report.subject
    assert len(open_house.calls(number)) == 1
    fax = open_house.fax(number)
    assert len(open_house.ask("show", id=fax["id"])["recipients"]) >= 2


def test_que_07_a_mail_handed_in_twice_is_one_fax(open_house: House) -> None:
    mail, number = letter(), fresh()
    assert open_house.send(mail, number) == {}
    assert open_house.send(mail, number) == {}
    open_house.reports(mail)
    assert open_house.send(mail, number) == {}
    open_house.wait(lambda: open_house.ask("status")["unfinished"].keys() <= {"held"}, what="an empty queue")
    assert len(open_house.faxes(number)) == 1
    assert len(open_house.calls(number)) == 1
    assert len(open_house.reports(mail)) == 1


def test_que_08_the_same_mail_to_one_more_number_is_one_more_fax(open_house: House) -> None:
    mail, first, second = letter(), fresh(), fresh()
    open_house.send(mail, first)
    open_house.send(mail, first, second)
    open_house.reports(mail, 2)
    assert [len(open_house.calls(number)) for number in (first, second)] == [1, 1]


def test_que_09_without_message_id_nothing_is_a_repetition(open_house: House) -> None:
    mail, number = letter("The same again", message_id=False), fresh()
    open_house.send(mail, number)
    open_house.send(mail, number)
    open_house.wait(lambda: len(open_house.calls(number)) == 2, what="two calls")
    assert len(open_house.faxes(number)) == 2


def test_que_07_two_clients_at_the_same_moment_make_one_fax(open_house: House) -> None:
    mail, number = letter(), fresh()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: open_house.send(mail, number), range(8)))
    assert answers == [{}] * 8
    open_house.reports(mail)
    assert len(open_house.calls(number)) == 1


def test_que_08_the_same_mail_after_a_crash_is_the_same_fax(house: House) -> None:
    house.start()
    mail, number = letter(), fresh()
    assert house.send(mail, number) == {}
    house.kill()
    house.start()
    assert house.send(mail, number) == {}
    house.reports(mail)
    assert len(house.faxes(number)) == 1
    assert len(house.calls(number)) == 1
    assert "duplicate of tx_" in house.log.read_text()
