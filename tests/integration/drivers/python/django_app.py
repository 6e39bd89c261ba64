"""An application of Django: migrations, models, atomic blocks, and iterators (cursors WITH HOLD outside transactions)."""

import datetime
import decimal
import itertools
import os

import django
from django.conf import settings

import telling
from telling import at_once, failing, play, tell

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"], "HOST": os.environ["PGHOST"],
        "PORT": os.environ["PGPORT"], "USER": os.environ["PGUSER"], "PASSWORD": os.environ["PGPASSWORD"],
        "CONN_MAX_AGE": 60, "OPTIONS": {"application_name": "djangonaut", "options": "-c statement_timeout=50s"}}},
    USE_TZ=True, TIME_ZONE="Europe/Vienna", SECRET_KEY="of a test", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
)
django.setup()

from django.contrib.auth.models import Group, Permission, User  # noqa: E402  needs the settings
from django.contrib.postgres.fields import ArrayField  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, connection, models, transaction  # noqa: E402


class Shelf(models.Model):
    name = models.CharField(max_length=50, unique=True)
    tags = ArrayField(models.CharField(max_length=20), default=list)

    class Meta:
        app_label = "sessions"  # one that is installed


class Item(models.Model):
    shelf = models.ForeignKey(Shelf, models.CASCADE, related_name="items")
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    made = models.DateTimeField(null=True)
    kept = models.DurationField(null=True)
    data = models.JSONField(default=dict)

    class Meta:
        app_label = "sessions"  # one that is installed
        constraints = [models.CheckConstraint(check=models.Q(price__gte=0), name="no_gifts")]


def tell_error(what, error):
    telling.tell_error(f"{what}: {type(error).__name__}", error.__cause__)


def fails(what, action, *arguments, **named):
    failing(what, action, *arguments, tell_error=tell_error, kind=DatabaseError, **named)


def sql(text, *arguments):
    with connection.cursor() as cursor:
        cursor.execute(text, arguments or None)
        return cursor.fetchone()[0] if cursor.description else cursor.rowcount


def migrations():
    call_command("migrate", verbosity=1, interactive=False)
    with connection.schema_editor() as editor:
        editor.create_model(Shelf)
        editor.create_model(Item)
    tell("tables", sorted(connection.introspection.table_names()))
    tell("permissions", Permission.objects.count())
    tell("session", sql("SHOW TimeZone"), sql("SHOW application_name"), sql("SHOW statement_timeout"))


def users():
    users = [User.objects.create_user(f"user {number}", password="x") for number in range(10)]
    group = Group.objects.create(name="all")
    group.user_set.set(users)
    tell("group", group.user_set.filter(username__contains="7").get().username, users[3].check_password("x"))
    store = SessionStore()
    store["who"] = "me"
    store.save()
    tell("session", SessionStore(session_key=store.session_key)["who"])


def queries():
    shelves = Shelf.objects.bulk_create([Shelf(name=f"shelf {number}", tags=["a", str(number)]) for number in range(20)])
    tell("keys", [shelf.pk for shelf in shelves[:3]])
    now = datetime.datetime(2024, 7, 1, 12, tzinfo=datetime.timezone.utc)
    Item.objects.bulk_create([Item(shelf=shelves[i % 20], price=decimal.Decimal(i) / 4, made=now + datetime.timedelta(days=i),
                                   kept=datetime.timedelta(hours=i), data={"n": i, "odd": bool(i % 2)}) for i in range(2000)],
                             batch_size=300)
    tell("first", list(Item.objects.order_by("pk").values_list("price", "made", "kept", "data"))[:2])
    tell("filtered", Item.objects.filter(data__odd=True, data__n__gt=1000).count(),
         Shelf.objects.filter(tags__contains=["7"]).get().name)
    tell("by day", list(Item.objects.filter(made__date=datetime.date(2024, 7, 3)).values_list("pk", flat=True)))
    tell("annotated", list(Shelf.objects.annotate(n=models.Count("items"), total=models.Sum("items__price"))
                           .order_by("name").values_list("name", "n", "total")[:3]))
    tell("updated", Item.objects.filter(price__lt=10).update(price=models.F("price") + 1))
    tell("months", [str(month) for month in Item.objects.filter(pk__lt=100).datetimes("made", "month")])
    tell("got or made", Shelf.objects.get_or_create(name="shelf 3")[1], Shelf.objects.update_or_create(
        name="new", defaults={"tags": ["x"]})[1])
    tell("prefetched", sum(len(shelf.items.all()) for shelf in Shelf.objects.prefetch_related("items")))


def iterators():
    # Not in a block: a cursor WITH HOLD is read while other statements come and go.
    seen, others = 0, 0
    for item in Item.objects.order_by("pk").iterator(chunk_size=100):
        seen += 1
        if seen % 200 == 0:
            others += Shelf.objects.filter(pk__lte=3).count()
    tell("outside", seen, others)
    with transaction.atomic():
        both = itertools.zip_longest(Item.objects.order_by("pk").iterator(chunk_size=50),
                                     Item.objects.order_by("-pk").iterator(chunk_size=70))
        tell("inside", sum(1 for _ in both))
    half = Item.objects.iterator(chunk_size=10)
    next(half)
    del half
    tell("afterwards", Item.objects.count())


def blocks():
    done = []
    with transaction.atomic():
        Shelf.objects.create(name="outer")
        transaction.on_commit(lambda: done.append("committed"))
        try:
            with transaction.atomic():
                Shelf.objects.create(name="inner")
                Shelf.objects.create(name="outer")
        except DatabaseError as error:
            tell_error("unique", error)
        tell("shelves", Shelf.objects.filter(name__in=["inner", "outer"]).count())
        tell("locked", Shelf.objects.select_for_update(skip_locked=True).filter(name="outer").count())
    tell("done", done)
    for name, values in (("price", {"price": -1}), ("shelf", {"shelf_id": 10**6}), ("null", {"shelf_id": None})):
        fails(name, make, **{"shelf_id": 1, **values})
    fails("syntax", sql, "SELEC")
    fails("division", sql, "SELECT 1 / %s", 0)
    transaction.set_autocommit(False)
    Shelf.objects.create(name="never")
    transaction.rollback()
    transaction.set_autocommit(True)
    tell("never", Shelf.objects.filter(name="never").exists())
    with transaction.atomic():
        sql("SET LOCAL statement_timeout = 40")
        fails("timeout", sql, "SELECT pg_sleep(30)")
        transaction.set_rollback(True)
    tell("afterwards", sql("SHOW statement_timeout"))


def make(**values):
    with transaction.atomic():
        return Item.objects.create(**values)


def threads():
    def work(number):
        try:
            for turn in range(6):
                with transaction.atomic():
                    shelf = Shelf.objects.select_for_update().get(name="shelf 1")
                    shelf.tags = [str(int(shelf.tags[-1]) + 1)]
                    shelf.save()
                for item in Item.objects.filter(shelf__name=f"shelf {number}").iterator(chunk_size=20):
                    assert item.shelf_id
        finally:
            connection.close()

    at_once(4, work)
    tell("counted", Shelf.objects.get(name="shelf 1").tags)


def ends():
    fails("own end", sql, "SELECT pg_terminate_backend(pg_backend_pid())")
    connection.close_if_unusable_or_obsolete()
    tell("again", sql("SELECT 1"), sql("SHOW TimeZone"))
    call_command("flush", interactive=False, verbosity=0)
    tell("flushed", User.objects.count())
    connection.close()


play([migrations, users, queries, iterators, blocks, threads, ends])
