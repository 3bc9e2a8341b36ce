"""A small book to start from: invented people, every column, no mistakes."""

import json
from pathlib import Path

_COMPANY = {
    "company_id": 1001,
    "title": "Example salon",
    "business_type": "beauty",
    "timezone": "Europe/Moscow",
    "country": "RU",
    "currency": "RUB",
    "phone": "+79000000000",
    "language": "ru",
    "exported_at": "2026-11-01T21:00:00+03:00",
    "enabled": False,
    "consent_basis": "agreement signed at the desk",
    "accepted_risks": ["whatsapp_ru"],
}
_TABLES = {
    "services": """\
service_id,title,category,list_price,duration_minutes,active
1,Женская стрижка,Волосы,2500,60,true
2,Окрашивание,Волосы,6500.50,150,true
3,Маникюр с покрытием,Ногти,2000,90,true
""",
    "staff": """\
staff_id,name,phone,active,service_ids
11,Анна,+79000000011,true,1|2
12,Мария,,true,3
""",
    "clients": """\
client_id,name,phone,mailing_refused,blacklisted,consent
101,Ольга,+79000000101,false,false,true
102,Ирина,8 (900) 000-01-02,false,false,
103,Светлана,,true,false,
""",
    "visits": """\
record_id,client_id,starts_at,staff_id,service_id,price,status,created_at
5001,101,2026-07-06 12:00,11,1,2500,completed,2026-07-01 18:20
5002,101,2026-08-05 12:30,11,1,2500,completed,2026-07-06 13:05
5003,101,2026-08-05 13:30,11,2,6500.50,completed,2026-07-06 13:05
5004,102,2026-09-10 18:00,12,3,2000,completed,
5005,102,2026-10-01 18:00,12,3,,no_show,
5006,103,2026-10-15 00:00,12,3,,cancelled,
5007,102,2026-11-20 17:30,12,3,,booked,2026-10-30 09:12
""",
    "rules": """\
service_id,reactivation_interval_days,retry_interval_days,max_attempts,discount_progression,active
1,40,14,3,10|15|20,true
3,21,14,3,5|10|15,true
""",
}


def write_template(directory: Path) -> list[Path]:
    """Write the example into `directory`, which is made if need be, and return the files. Raises FileExistsError rather than overwrite one."""
    texts = {"company.json": json.dumps(_COMPANY, indent=2, ensure_ascii=False) + "\n"}
    texts |= {f"{table}.csv": rows for table, rows in _TABLES.items()}
    paths = [directory / name for name in texts]
    for path in paths:
        if path.exists():
            raise FileExistsError(f"{path} is there already")
    directory.mkdir(parents=True, exist_ok=True)
    for path, content in zip(paths, texts.values(), strict=True):
        path.write_text(content, encoding="utf-8", newline="")
    return paths
